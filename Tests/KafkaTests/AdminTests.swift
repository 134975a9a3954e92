import Glibc
import Testing

@testable import Kafka

extension BrokerTests {
    @Suite(.serialized, .enabled(if: TestEnvironment.brokers != nil, "SLUICE_TEST_KAFKA is not set"))
    struct AdminTests {
        let cluster: TestCluster

        init() throws { cluster = try TestCluster() }

        @Test func createsDescribesAndDeletes() throws {
            let name = TestCluster.unique("admin")
            let new = NewTopic(
                name, partitions: 3, replicationFactor: 1,
                configuration: ["retention.ms": "604800000", "max.message.bytes": "2000000"])
            #expect(try cluster.admin.createTopics([new], dryRun: true, timeout: patience) == [name: .created])
            #expect(try cluster.admin.partitionCount(of: name, timeout: patience) == nil)
            #expect(try cluster.admin.createTopics([new], timeout: patience) == [name: .created])
            #expect(try cluster.admin.createTopics([new], timeout: patience) == [name: .existed])
            #expect(try cluster.known(name) == 3)
            let configuration = try cluster.admin.configuration(ofTopic: name, timeout: patience)
            #expect(configuration["retention.ms"] == "604800000")
            #expect(configuration["max.message.bytes"] == "2000000")
            #expect(configuration["cleanup.policy"] == "delete")
            #expect(configuration["min.insync.replicas"] == "1")
            try cluster.admin.deleteTopics([name], timeout: patience)
            let deadline = Deadline(after: patience)
            while try cluster.admin.partitionCount(of: name, timeout: patience) != nil, !deadline.hasPassed {}
            #expect(try cluster.admin.partitionCount(of: name, timeout: patience) == nil)
        }

        @Test func saysWhyATopicCannotBe() throws {
            let name = TestCluster.unique("admin")
            let topics = [
                NewTopic("not a name", partitions: 1, replicationFactor: 1),
                NewTopic(name, partitions: 1, replicationFactor: 99),
            ]
            let results = try cluster.admin.createTopics(topics, timeout: patience)
            for topic in topics {
                guard case .failed(let error)? = results[topic.name] else {
                    Issue.record("created \(topic)")
                    continue
                }
                #expect(error.reason == .configuration)
                #expect(error.description.contains(topic.name))
            }
        }

        @Test func describesTheCluster() throws {
            let description = try cluster.admin.describeCluster(timeout: patience)
            #expect(!description.id.isEmpty)
            #expect(!description.brokers.isEmpty)
            let configuration = try cluster.admin.configuration(timeout: patience)
            #expect(Int(configuration["transaction.max.timeout.ms"] ?? "") ?? 0 > 0)
        }

        @Test func severalTopicsAreAskedForAtOnce() throws {
            // More than one request's worth of settings.
            let names = try (0..<60).map { try cluster.topic("many\($0)", partitions: Int32($0 % 3 + 1)) }
            let absent = TestCluster.unique("absent")
            let counts = try cluster.admin.partitionCounts(of: names + [absent], timeout: patience)
            #expect(counts == Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, Int32($0 % 3 + 1)) }))
            #expect(try cluster.admin.partitionCounts(of: [], timeout: patience) == [:])
            let settings = try cluster.admin.configurations(
                ofTopics: names + [absent], ["cleanup.policy", "no.such"], timeout: patience)
            #expect(Set(settings.keys) == Set(names))
            #expect(settings.values.allSatisfy { $0 == ["cleanup.policy": "delete"] })

            let producer = try cluster.producer()
            try producer.lookUp(names + [absent], timeout: patience)
            let topic = try producer.topic(names[4], timeout: .zero)
            #expect(topic.partitions == 2)
            try producer.transaction(["a"], to: topic)
            #expect(failure { _ = try producer.topic(absent, timeout: patience) }?.reason == .unknownTopic)
            #expect(try cluster.read(names[4]) == ["a"])
        }

        @Test func absentTopicsAreToldApart() throws {
            let name = TestCluster.unique("absent")
            let error = failure { _ = try cluster.admin.configuration(ofTopic: name, timeout: patience) }
            #expect(error?.reason == .unknownTopic)
            #expect(failure { try cluster.admin.deleteTopics([name], timeout: patience) }?.reason == .unknownTopic)
            let bounds = failure {
                _ = try cluster.admin.bounds(of: TopicPartition(name, 0), timeout: .seconds(5))
            }
            #expect(bounds?.reason == .unknownTopic)
        }

        @Test func partitionsWithAnOpenTransactionAreTold() throws {
            let (open, decided) = (try cluster.topic("undecided", partitions: 3), try cluster.topic("undecided"))
            let absent = TopicPartition(TestCluster.unique("undecided"), 0)
            let all = (0..<3).map { TopicPartition(open, $0) } + [TopicPartition(decided, 0), absent]
            #expect(try Set(cluster.admin.bounds(of: all, timeout: patience).keys) == Set(all.dropLast()))
            func undecided(_ partitions: [TopicPartition], once expected: [PartitionOffset]) throws -> [PartitionOffset]
            {
                var found = try cluster.admin.undecided(partitions, timeout: patience)
                // A marker is written after the commit has been answered.
                for _ in 0..<200 where found != expected {
                    usleep(20_000)
                    found = try cluster.admin.undecided(partitions, timeout: patience)
                }
                return found
            }
            #expect(try cluster.admin.undecided(all, timeout: patience) == [])
            #expect(try cluster.admin.undecided([absent], timeout: patience) == [])
            #expect(try cluster.admin.undecided([], timeout: patience) == [])
            let producer = try cluster.producer()
            try producer.transaction(["a"], to: try producer.topic(decided, timeout: patience))
            #expect(try undecided(all, once: []) == [])
            let topic = try producer.topic(open, timeout: patience)
            try producer.begin()
            try producer.produce("b", to: topic, partition: 0)
            try producer.produce("c", to: topic, partition: 2)
            try producer.flush(timeout: patience)
            let first = [PartitionOffset(all[0], offset: 0), PartitionOffset(all[2], offset: 0)]
            #expect(try cluster.admin.undecided(all, timeout: patience) == first)
            try producer.abort(timeout: patience)
            #expect(try undecided(all, once: []) == [])
            try producer.begin()
            try producer.produce("d", to: topic, partition: 2)
            try producer.flush(timeout: patience)
            // Behind the record and the marker of the one before.
            let next = [PartitionOffset(all[2], offset: 2)]
            #expect(try cluster.admin.undecided(all, timeout: patience) == next)
            try producer.abort(timeout: patience)
        }

        @Test func transactionTimeOutAboveTheBrokersIsRefused() throws {
            let producer = try TransactionalProducer(
                cluster.settings,
                ProducerOptions(transactionalID: TestCluster.unique("id"), transactionTimeout: .seconds(1_000_000)))
            let error = failure { try producer.initTransactions(timeout: patience) }
            #expect(error?.reason == .configuration)
            #expect(error?.disposition != .retriable)
        }
    }
}
