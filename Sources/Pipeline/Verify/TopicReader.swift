import ChangeData
import Kafka

/// Reads a topic as `read_committed` shows it, from offsets to the last record that was committed before an LSN.
struct TopicReader {
    let settings: StreamSettings
    let services: StreamServices

    /// Where the topic's log begins and ends, by partition.
    func bounds(of topic: String) throws(KafkaError) -> [PartitionBounds] {
        let admin = try KafkaAdmin(settings.kafka, events: services.kafkaEvents)
        guard let count = try admin.partitionCount(of: topic, timeout: .seconds(15)) else { return [] }
        var bounds: [PartitionBounds] = []
        for partition in 0..<count {
            bounds.append(try admin.bounds(of: TopicPartition(topic, partition), timeout: .seconds(15)))
        }
        return bounds
    }

    /// Up to where the sink has read, by partition: what lies between its last object and there are ends of transactions, or was
    /// given up by somebody.
    func readBySink(of topic: String, partitions: Int) throws(KafkaError) -> [Int64] {
        let admin = try KafkaAdmin(settings.kafka, events: services.kafkaEvents)
        var read = [Int64](repeating: 0, count: partitions)
        let all = read.indices.map { TopicPartition(topic, Int32($0)) }
        for found in try admin.committedOffsets(of: SinkSettings.group(of: settings.name), all, timeout: .seconds(15)) {
            read[Int(found.partition.partition)] = found.offset
        }
        return read
    }

    /// Shows the value of each record from `from` on whose position is before `end` in its epoch, or of an older epoch.
    /// - Parameters:
    ///   - from: the first offset, by partition.
    ///   - bounds: as they are now.
    func forEach(
        of topic: String, from: [Int64], bounds: [PartitionBounds], epoch: UInt32, before end: LSN,
        _ body: (_ partition: Int32, _ offset: Int64, _ value: [UInt8]) -> Void
    ) throws(KafkaError) {
        let reader = try CommittedReader(settings.kafka, events: services.kafkaEvents)
        for partition in bounds.indices where from[partition] < bounds[partition].lastStable {
            let name = TopicPartition(topic, Int32(partition))
            let last = bounds[partition].lastStable
            try reader.start(name, at: max(from[partition], bounds[partition].low))
            var isDone = false
            while !isDone {
                let event = reader.poll(timeout: .seconds(30)) { record in
                    if record.offset >= last {
                        isDone = true
                        return
                    }
                    guard let value = record.value, !isDone else { return }
                    if let position = position(of: record), position.epoch == epoch, position.commitLSN >= end {
                        return
                    }
                    body(Int32(partition), record.offset, value.indices.map { value[$0] })
                }
                switch event {
                case .partitionEnd(_, let offset) where offset >= last: isDone = true
                case .error(let error, _) where error.disposition != .retriable: throw error
                case nil where !isDone: if (reader.position(of: name) ?? last) >= last { isDone = true }
                default: break
                }
            }
            reader.stop(name)
        }
    }

    private func position(of record: borrowing ConsumedRecord) -> EventPosition? {
        guard let header = record.header("sluice.pos") else { return nil }
        return RecordPosition(parsing: header)?.position
    }
}
