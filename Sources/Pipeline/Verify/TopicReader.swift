import ChangeData
import Kafka
import Threads

/// Reads a topic as `read_committed` shows it, from offsets to the last record that was committed before an LSN.
struct TopicReader {
    let settings: StreamSettings
    let services: StreamServices

    /// Where the topic's log begins and ends, by partition: with all that was in it before the call, of which the end of its
    /// transaction may be written a moment after the position was.
    /// - Throws: where a transaction stays open for a minute.
    func bounds(of topic: String) throws(KafkaError) -> [PartitionBounds] {
        let admin = try KafkaAdmin(settings.kafka, events: services.kafkaEvents)
        guard let count = try admin.partitionCount(of: topic, timeout: .seconds(15)) else { return [] }
        var bounds: [PartitionBounds] = []
        for partition in 0..<count {
            let began = services.clock.monotonic()
            let name = TopicPartition(topic, partition)
            var now = try admin.bounds(of: name, timeout: .seconds(15))
            let end = now.high
            while now.lastStable < end {
                guard services.clock.monotonic() &- began < Self.patience else {
                    throw KafkaError(
                        "a transaction is open on \(name) since offset \(now.lastStable): what lies behind is not shown",
                        operation: "read", disposition: .retriable)
                }
                Wakeup().wait(milliseconds: 100)
                now = try admin.bounds(of: name, timeout: .seconds(15))
            }
            bounds.append(now)
        }
        return bounds
    }

    /// The sink's own word of a topic, by partition: up to where it has read, and what it has put last.
    func readBySink(of topic: String) throws(KafkaError) -> [Int32: PartitionOffset] {
        let admin = try KafkaAdmin(settings.kafka, events: services.kafkaEvents)
        guard let count = try admin.partitionCount(of: topic, timeout: .seconds(15)) else { return [:] }
        let all = (0..<count).map { TopicPartition(topic, $0) }
        let found = try admin.committedOffsets(of: SinkSettings.group(of: settings.name), all, timeout: .seconds(15))
        return Dictionary(found.map { ($0.partition.partition, $0) }, uniquingKeysWith: { $1 })
    }

    /// A record of a topic.
    struct Found {
        var partition: Int32
        var offset: Int64
        /// 0 where it does not say.
        var epoch: UInt32
        var value: [UInt8]
    }

    /// Brokers that are away for longer have to be looked at by somebody.
    static let patience: Int64 = .seconds(60)

    /// Shows each record from `from` on whose position is before `end` in its epoch, or of an older epoch, until `body` says false.
    /// - Parameters:
    ///   - from: the first offset, by partition.
    ///   - bounds: as they are now.
    /// - Throws: `timedOut` where brokers show nothing for a minute.
    func forEach(
        of topic: String, from: [Int64], bounds: [PartitionBounds], epoch: UInt32, before end: LSN,
        _ body: (Found) -> Bool
    ) throws(KafkaError) {
        // One partition at a time, and each record goes to the disk: more at once would not be faster.
        let options = ReaderOptions(queueBytes: 4 << 20, fetchBytes: 2 << 20, partitionFetchBytes: 1 << 20)
        let reader = try CommittedReader(settings.kafka, options, events: services.kafkaEvents)
        for partition in bounds.indices where from[partition] < bounds[partition].lastStable {
            let name = TopicPartition(topic, Int32(partition))
            let last = bounds[partition].lastStable
            try reader.start(name, at: max(from[partition], bounds[partition].low))
            var isDone = false
            var isWanted = true
            var moved = services.clock.monotonic()
            while !isDone, isWanted {
                let event = reader.poll(timeout: .seconds(5)) { record in
                    moved = services.clock.monotonic()
                    if record.offset >= last { isDone = true }
                    guard let value = record.value, !isDone, isWanted else { return }
                    let position = position(of: record)
                    if let position, position.epoch == epoch, position.commitLSN >= end { return }
                    isWanted = body(
                        Found(
                            partition: Int32(partition), offset: record.offset, epoch: position?.epoch ?? 0,
                            value: value.indices.map { value[$0] }))
                }
                switch event {
                case .partitionEnd(_, let offset) where offset >= last: isDone = true
                case .error(let error, _) where error.disposition != .retriable: throw error
                default: break
                }
                // Behind the last record there may be nothing but ends of transactions.
                let next = reader.position(of: name) ?? last
                if next >= last { isDone = true }
                if !isDone, services.clock.monotonic() &- moved > Self.patience {
                    throw KafkaError(
                        "the brokers show nothing of \(name) from offset \(next) on", operation: "read",
                        disposition: .retriable)
                }
            }
            reader.stop(name)
            if !isWanted { return }
        }
    }

    private func position(of record: borrowing ConsumedRecord) -> EventPosition? {
        guard let header = record.header("sluice.pos") else { return nil }
        return RecordPosition(parsing: header)?.position
    }
}
