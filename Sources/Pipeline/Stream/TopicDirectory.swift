import ChangeData
import Kafka

/// The topics that records go to: opened, made where they are missing, their limits known.
struct TopicDirectory: ~Copyable {
    private struct Entry {
        var topic: TransactionalProducer.Topic
        /// What the topic takes of one batch, bytes.
        var limit: Int
    }
    private var entries: [Entry] = []
    private(set) var progress: TransactionalProducer.Topic
    private let settings: StreamSettings
    private let maker: TopicMaker

    init(
        _ settings: StreamSettings, maker: TopicMaker, producer: TransactionalProducer
    ) throws(KafkaError) {
        self.settings = settings
        self.maker = maker
        progress = try producer.topic(settings.progressTopic, timeout: .seconds(30))
    }

    subscript(index: Int) -> TransactionalProducer.Topic { entries[index].topic }

    /// Opens the topics that records name for the first time.
    mutating func prepare(
        upTo count: Int, names: [String], producer: TransactionalProducer
    ) throws(SessionFailure) {
        while entries.count < min(count, names.count) {
            let live = names[entries.count]
            let name = settings.topic(live)
            let limit: Int
            do throws(TopicMaker.Problem) {
                limit = try maker.ensure(name, like: settings.replay == nil ? nil : live)
            } catch { throw error.failure }
            let topic = try StreamFailures.kafka { () throws(KafkaError) in
                try producer.topic(name, timeout: .seconds(30))
            }
            entries.append(Entry(topic: topic, limit: limit))
        }
    }

    /// How many topics are open.
    var count: Int { entries.count }

    /// The same topics, of another producer.
    mutating func reopen(by producer: TransactionalProducer) throws(KafkaError) {
        progress = try producer.topic(settings.progressTopic, timeout: .seconds(30))
        for index in entries.indices {
            entries[index].topic = try producer.topic(entries[index].topic.name, timeout: .seconds(30))
        }
    }

    /// The first record of these that its topic cannot take, uncompressed, with that topic's limit.
    func firstTooLarge(_ chunk: RecordChunk, _ records: Range<Int>) -> (index: Int, size: Int, limit: Int)? {
        let all = chunk.records
        for index in records {
            let record = all[index]
            let size = (record.key?.count ?? 0) + (record.value?.count ?? 0) + (record.link?.count ?? 0) + 128
            if size > entries[record.topic].limit { return (index, size, entries[record.topic].limit) }
        }
        return nil
    }
}
