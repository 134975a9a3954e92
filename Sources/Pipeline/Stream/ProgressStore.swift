import ChangeData
import Kafka

/// The progress topic: one partition, compacted, one writer. Its last committed record is the position.
struct ProgressStore: ~Copyable {
    /// What the topic holds.
    enum Found: Equatable {
        case nothing
        case position(StoredPosition)
        /// A record that is not one of ours, or of a newer version.
        case unreadable(String)
    }

    private let partition: TopicPartition
    private let key: [UInt8]
    private let reader: CommittedReader

    init(_ settings: StreamSettings, events: KafkaEvents) throws(KafkaError) {
        try self.init(settings.kafka, topic: settings.progressTopic, key: settings.progressKey, events: events)
    }

    init(_ kafka: KafkaSettings, topic: String, key: String, events: KafkaEvents) throws(KafkaError) {
        partition = TopicPartition(topic, 0)
        self.key = Array(key.utf8)
        reader = try CommittedReader(
            kafka,
            ReaderOptions(queueBytes: 1 << 20, fetchBytes: 1 << 20, partitionFetchBytes: 256 << 10, batchRecords: 100),
            events: events)
    }

    /// Puts the position into the producer's open transaction.
    static func produce(
        _ position: StoredPosition, for key: String, to topic: TransactionalProducer.Topic,
        by producer: TransactionalProducer
    ) throws(KafkaError) {
        let value = Array(ProgressRecord.encode(position).utf8)
        let key = Array(key.utf8)
        while try producer.produce(
            to: topic, partition: 0, key: key.span, value: value.span, retention: .copied) == .queueFull
        { producer.poll(.milliseconds(10)) }
    }

    /// As `read`, and nothing where the topic does not exist.
    func readIfThere(timeout: Duration) throws(KafkaError) -> (found: Found, isOpen: Bool) {
        do throws(KafkaError) {
            return try read(timeout: timeout)
        } catch {
            guard error.reason == .unknownTopic else { throw error }
            return (.nothing, false)
        }
    }

    /// The last committed position, and whether a transaction is open behind it, which may yet move it.
    func read(timeout: Duration) throws(KafkaError) -> (found: Found, isOpen: Bool) {
        let (record, bounds) = try reader.lastRecord(of: partition, timeout: timeout)
        guard let record else { return (.nothing, bounds.hasOpenTransaction) }
        guard record.key == key, let value = record.value else {
            return (.unreadable("offset \(record.offset) has another key, or no value"), bounds.hasOpenTransaction)
        }
        guard let position = ProgressRecord.decode(value) else {
            return (.unreadable("offset \(record.offset) is not a position of version 1"), bounds.hasOpenTransaction)
        }
        return (.position(position), bounds.hasOpenTransaction)
    }
}
