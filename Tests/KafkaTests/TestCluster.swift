import Glibc
import Testing

@testable import Kafka

/// Environment variables that tests read.
enum TestEnvironment {
    static func value(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
    /// Brokers of a real Apache Kafka.
    static let brokers = value("SLUICE_TEST_KAFKA")
    /// An unpacked Apache Kafka, for tests that stop and start a broker of their own.
    static let home = value("SLUICE_TEST_KAFKA_HOME")
}

let patience = Duration.seconds(30)

/// All tests that speak to brokers run one after the other: they block their threads.
@Suite(.serialized) enum BrokerTests {}

/// What a test that speaks to a cluster needs: settings, an admin client, and short ways to write and read.
final class TestCluster {
    let settings: KafkaSettings
    let admin: KafkaAdmin

    init(_ brokers: String? = TestEnvironment.brokers, properties: [String: String] = [:]) throws {
        settings = try KafkaSettings(
            brokers: try #require(brokers), clientID: "sluice-test", properties: properties)
        admin = try KafkaAdmin(settings)
    }

    static func unique(_ prefix: String) -> String { "\(prefix)-\(getpid())-\(UInt32.random(in: .min ... .max))" }

    func topic(
        _ prefix: String, partitions: Int32 = 1, _ configuration: [String: String] = [:]
    ) throws -> String {
        let name = Self.unique(prefix)
        let new = NewTopic(name, partitions: partitions, replicationFactor: 1, configuration: configuration)
        try #require(admin.createTopics([new], timeout: patience) == [name: .created])
        try #require(try known(name) == partitions)
        return name
    }

    /// How many partitions the broker that is asked says that a new topic has: the controller made it, and this broker may
    /// learn of it, and of its leaders, seconds later where the machine is busy.
    func known(_ topic: String) throws -> Int32? {
        let deadline = Deadline(after: patience)
        while !deadline.hasPassed {
            if let count = try admin.partitionCount(of: topic, timeout: patience) { return count }
            usleep(20_000)
        }
        return nil
    }

    func producer(_ id: String? = nil, _ change: (inout ProducerOptions) -> Void = { _ in }) throws
        -> TransactionalProducer
    {
        var options = ProducerOptions(transactionalID: id ?? Self.unique("id"))
        change(&options)
        let producer = try TransactionalProducer(settings, options)
        try producer.initTransactions(timeout: patience)
        return producer
    }

    /// Waits until every transaction in these partitions has its end: a marker is written after the commit has been answered.
    func decided(_ topic: String, partitions: Range<Int32> = 0..<1) throws {
        let all = partitions.map { TopicPartition(topic, $0) }
        let deadline = Deadline(after: patience)
        while try admin.undecided(all, timeout: patience) != [] {
            try #require(!deadline.hasPassed, "a transaction of \(topic) is open")
            usleep(20_000)
        }
    }

    /// Everything that a topic's partition shows, in order, once it is decided.
    func read(_ topic: String, partition: Int32 = 0, from start: Int64 = 0, committedOnly: Bool = true) throws
        -> [String]
    {
        if committedOnly { try decided(topic, partitions: partition..<partition + 1) }
        var options = ReaderOptions()
        options.committedOnly = committedOnly
        let reader = try CommittedReader(settings, options)
        try reader.start(TopicPartition(topic, partition), at: start)
        var values: [String] = []
        let deadline = Deadline(after: patience)
        while !deadline.hasPassed {
            let event = reader.poll(timeout: patience) { record in values.append(text(record.value) ?? "<null>") }
            switch event {
            case .partitionEnd: return values
            case .error(let error, _) where error.disposition != .retriable: throw error
            default: break
            }
        }
        throw KafkaError.timedOut("read \(topic)", "no end of the partition")
    }
}

func text(_ span: Span<UInt8>?) -> String? {
    guard let span else { return nil }
    return span.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
}

extension TransactionalProducer {
    @discardableResult
    func produce(_ value: String?, key: String? = nil, to topic: Topic, partition: Int32? = nil) throws -> Outcome {
        let key = key.map { Array($0.utf8) }
        let value = value.map { Array($0.utf8) }
        switch (key, value) {
        case (let key?, let value?):
            return try produce(to: topic, partition: partition, key: key.span, value: value.span)
        case (let key?, nil): return try produce(to: topic, partition: partition, key: key.span, value: nil)
        case (nil, let value?): return try produce(to: topic, partition: partition, key: nil, value: value.span)
        case (nil, nil): return try produce(to: topic, partition: partition, key: nil, value: nil)
        }
    }

    /// After a batch was refused, librdkafka notices only in the next transaction that a sequence number is missing: that
    /// one fails as well, abortable, and the abort mends it. Says how often it was aborted.
    @discardableResult
    func transactionAfterRefusal(_ values: [String], to topic: Topic) throws -> Int {
        for aborts in 0..<3 {
            guard let error = failure({ try transaction(values, to: topic) }) else { return aborts }
            guard error.disposition == .abortable else { throw error }
            try abort(timeout: patience)
        }
        throw KafkaError.timedOut("transaction", "aborted three times")
    }

    func transaction(_ values: [String], to topic: Topic, partition: Int32 = 0, commit: Bool = true) throws {
        try begin()
        for value in values { try produce(value, to: topic, partition: partition) }
        if commit {
            try self.commit(timeout: patience)
        } else {
            try flush(timeout: patience)
            try abort(timeout: patience)
        }
    }
}

/// The error that a call throws; nil where it throws none.
func failure(_ call: () throws -> Void) -> KafkaError? {
    do {
        try call()
        return nil
    } catch { return error as? KafkaError }
}

/// The number of bytes; -1 where there are none to count.
func size(_ span: Span<UInt8>?) -> Int {
    guard let span else { return -1 }
    return span.count
}
