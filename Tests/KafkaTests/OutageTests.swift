import Testing

@testable import Kafka

extension BrokerTests {
    /// What becomes of a transaction whose broker is killed in the middle, and comes back.
    @Suite(.serialized, .enabled(if: TestEnvironment.home != nil, "SLUICE_TEST_KAFKA_HOME is not set"))
    struct OutageTests {
        @Test func killedBrokerMakesTheCommitIndefiniteAndAnHeirGoesOn() throws {
            let broker = try OwnBroker(home: try #require(TestEnvironment.home))
            let cluster = try TestCluster(broker.brokers)
            let deadline = Deadline(after: .seconds(60))
            while failure({ _ = try cluster.admin.describeCluster(timeout: .seconds(1)) }) != nil {
                try #require(!deadline.hasPassed)
            }
            let name = try cluster.topic("outage")
            let id = TestCluster.unique("id")
            var old: TransactionalProducer? = try cluster.producer(id) { $0.transactionTimeout = .seconds(20) }
            if let producer = old {
                let topic = try producer.topic(name, timeout: patience)
                try producer.transaction(["before"], to: topic)
                try producer.begin()
                try producer.produce("in doubt", to: topic, partition: 0)
                try producer.flush(timeout: patience)
                broker.kill()
                let start = ContinuousClock.now
                let error = failure { try producer.commit(timeout: .seconds(2)) }
                #expect(error?.disposition == .indefinite)
                #expect(ContinuousClock.now - start < .seconds(6))
            }
            let start = ContinuousClock.now
            old = nil
            #expect(ContinuousClock.now - start < .seconds(5))

            try broker.start()
            let heir = try TransactionalProducer(cluster.settings, ProducerOptions(transactionalID: id))
            try heir.initTransactions(timeout: .seconds(60))
            let topic = try heir.topic(name, timeout: .seconds(60))
            // Whether the commit had reached the broker is what the log says, and nothing else does.
            let reader = try CommittedReader(cluster.settings)
            let last = try reader.lastRecord(of: TopicPartition(name, 0), timeout: .seconds(60))
            #expect(!last.bounds.hasOpenTransaction)
            #expect(last.record?.value == Array("before".utf8))
            try heir.transaction(["after"], to: topic)
            #expect(try cluster.read(name) == ["before", "after"])
        }

        @Test func shortOutageInsideTheDeadlineIsRiddenOut() throws {
            let broker = try OwnBroker(home: try #require(TestEnvironment.home))
            let cluster = try TestCluster(broker.brokers)
            let deadline = Deadline(after: .seconds(60))
            while failure({ _ = try cluster.admin.describeCluster(timeout: .seconds(1)) }) != nil {
                try #require(!deadline.hasPassed)
            }
            let name = try cluster.topic("short")
            let producer = try cluster.producer()
            let topic = try producer.topic(name, timeout: patience)
            try producer.transaction(["before"], to: topic)
            let lost = producer.connectionsLost
            broker.kill()
            // Without a poll: the thread that would poll may be in a call.
            while producer.connectionsLost == lost { try #require(!deadline.hasPassed) }
            try producer.begin()
            try producer.produce("during", to: topic, partition: 0)
            try broker.start()
            try producer.commit(timeout: .seconds(55))
            #expect(try cluster.read(name) == ["before", "during"])
        }
    }
}
