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
        slots.first { $0.partition == partition && $0.isAssigned }?.next
    }

    /// From here on records of the partition are taken, from `offset`.
    mutating func assign(_ partition: TopicPartition, at offset: Int64) {
        if let index = slots.firstIndex(where: { $0.partition == partition }) {
            slots[index].next = offset
            slots[index].isAssigned = true
        } else if let name = strdup(partition.topic) {
            slots.append(Slot(partition: partition, name: name, next: offset, isAssigned: true))
        }
    }

    mutating func unassign(_ partition: TopicPartition) {
        for index in slots.indices where slots[index].partition == partition { slots[index].isAssigned = false }
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
        guard
            let index = slots.firstIndex(where: {
                $0.partition.partition == partition && strcmp($0.name, name) == 0
            })
        else { return nil }
        last = index
        return index
    }
}
