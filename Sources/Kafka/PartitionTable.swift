internal import CKafka
internal import Glibc

/// Which partitions a reader reads, and which offset comes next in each. A partition keeps its slot for ever.
struct PartitionTable: ~Copyable {
    private struct Slot {
        let partition: TopicPartition
        /// The topic's name as C wants it compared, ours.
        let name: UnsafeMutablePointer<CChar>
        var next: Int64
        var isAssigned: Bool
    }

    private var slots: [Slot] = []
    /// Slots by a hash of name and number: a message brings its topic's name as C has it, and needs no `String` to be looked up.
    private var index: [UInt64: [Int]] = [:]
    /// The slot of the last record: records come in runs of one partition.
    private var last = 0

    deinit {
        for slot in slots { free(slot.name) }
    }

    subscript(partition slot: Int) -> TopicPartition { slots[slot].partition }

    var assigned: [PartitionOffset] {
        slots.filter(\.isAssigned).map { PartitionOffset($0.partition, offset: $0.next) }
    }

    func next(of partition: TopicPartition) -> Int64? {
        slot(of: partition).flatMap { slots[$0].isAssigned ? slots[$0].next : nil }
    }

    /// From here on records of the partition are taken, from `offset`.
    mutating func assign(_ partition: TopicPartition, at offset: Int64) {
        if let slot = slot(of: partition) {
            slots[slot].next = offset
            slots[slot].isAssigned = true
        } else if let name = strdup(partition.topic) {
            index[Self.hash(name, partition.partition), default: []].append(slots.count)
            slots.append(Slot(partition: partition, name: name, next: offset, isAssigned: true))
        }
    }

    mutating func unassign(_ partition: TopicPartition) {
        if let slot = slot(of: partition) { slots[slot].isAssigned = false }
    }

    func slot(of partition: TopicPartition) -> Int? {
        partition.topic.withCString { slot(named: $0, partition.partition) }
    }

    private func slot(named name: UnsafePointer<CChar>, _ partition: Int32) -> Int? {
        index[Self.hash(name, partition)]?.first {
            slots[$0].partition.partition == partition && strcmp(slots[$0].name, name) == 0
        }
    }

    /// FNV-1a.
    private static func hash(_ name: UnsafePointer<CChar>, _ partition: Int32) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        var next = name
        while next.pointee != 0 {
            hash = (hash ^ UInt64(UInt8(bitPattern: next.pointee))) &* 0x100_0000_01B3
            next += 1
        }
        return (hash ^ UInt64(UInt32(bitPattern: partition))) &* 0x100_0000_01B3
    }

    mutating func unassignAll() {
        for index in slots.indices { slots[index].isAssigned = false }
    }

    /// The slot of a message; nil for one of a partition that is not read, or below the offset that comes next, which is
    /// what a queue may still hold from before an assignment or a seek.
    mutating func admit(_ message: UnsafeMutablePointer<rd_kafka_message_t>) -> Int? {
        guard let index = slot(of: message), slots[index].isAssigned else { return nil }
        guard message.pointee.offset >= slots[index].next else { return nil }
        slots[index].next = message.pointee.offset + 1
        return index
    }

    mutating func slot(of message: UnsafeMutablePointer<rd_kafka_message_t>) -> Int? {
        guard let topic = message.pointee.rkt, let name = rd_kafka_topic_name(topic) else { return nil }
        let partition = message.pointee.partition
        if last < slots.count, slots[last].partition.partition == partition, strcmp(slots[last].name, name) == 0 {
            return last
        }
        guard let found = slot(named: name, partition) else { return nil }
        last = found
        return found
    }
}
