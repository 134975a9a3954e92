import CKafka
import Synchronization
import Testing

@testable import Kafka

/// What becomes of errors, with a cluster that makes them to order.
extension BrokerTests {
    @Suite(.serialized) struct ErrorPathTests {
        let mock: MockCluster
        let settings: KafkaSettings

        init() throws {
            mock = try MockCluster()
            mock.createTopic("t")
            settings = try KafkaSettings(brokers: mock.brokers, clientID: "test")
        }

        private func producer() throws -> (TransactionalProducer, TransactionalProducer.Topic) {
            let producer = try TransactionalProducer(
                settings, ProducerOptions(transactionalID: "id", transactionTimeout: .seconds(10)))
            try producer.initTransactions(timeout: patience)
            return (producer, try producer.topic("t", timeout: patience))
        }

        /// A client that only asks keeps the leaders it has heard of, and a broker that leads no longer is asked again and again.
        @Test func theEndsAreFoundAfterTheLeaderHasChanged() throws {
            let mock = try MockCluster(brokers: 2)
            mock.createTopic("moving")
            let admin = try KafkaAdmin(KafkaSettings(brokers: mock.brokers, clientID: "test"))
            let partition = TopicPartition("moving", 0)
            for broker in [Int32(1), 2, 1] {
                mock.lead("moving", 0, broker: broker)
                #expect(try admin.undecided([partition], timeout: .seconds(8)) == [])
                mock.lead("moving", 0, broker: 3 - broker)
                #expect(try admin.bounds(of: partition, timeout: .seconds(8)).high == 0)
            }
        }

        /// A leader that is gone for good, while this client was connected to nobody else for the partition.
        @Test func aLeaderThatIsGoneHoldsUpNobodyBeyondHisTime() throws {
            let mock = try MockCluster(brokers: 2)
            mock.createTopic("gone")
            mock.lead("gone", 0, broker: 1)
            let admin = try KafkaAdmin(KafkaSettings(brokers: mock.brokers, clientID: "test"))
            let partition = TopicPartition("gone", 0)
            #expect(try admin.bounds(of: partition, timeout: .seconds(8)).high == 0)
            mock.set(broker: 1, down: true)
            // Who waits for that leader waits for ever: any bound tells.
            let deadline = Deadline(after: .seconds(20))
            let error = failure { _ = try admin.bounds(of: partition, timeout: .seconds(1)) }
            #expect(error?.disposition == .retriable && !deadline.hasPassed)
            // And whoever asks again finds the next one.
            mock.lead("gone", 0, broker: 2)
            #expect(try admin.bounds(of: partition, timeout: .seconds(20)).high == 0)
        }

        /// A worker that gets hundreds at once has to poll within a minute.
        @Test func theEndsOfManyPartitionsCostAFewQuestions() throws {
            let mock = try MockCluster(brokers: 2)
            mock.createTopic("many", partitions: 300)
            let admin = try KafkaAdmin(KafkaSettings(brokers: mock.brokers, clientID: "test"))
            let partitions = (0..<300).map { TopicPartition("many", $0) }
            #expect(try admin.bounds(of: partitions[0], timeout: .seconds(8)).high == 0)
            for broker: Int32 in 1...2 { mock.delay(broker: broker, milliseconds: 50) }
            let deadline = Deadline(after: .seconds(8))
            let bounds = try admin.bounds(of: partitions, timeout: .seconds(8))
            #expect(Set(bounds.keys) == Set(partitions) && bounds.values.allSatisfy { $0.high == 0 })
            #expect(!deadline.hasPassed)
        }

        @Test func aTableKnowsEachPartitionByItsName() {
            var table = PartitionTable()
            let all = (0..<500).map { TopicPartition("t\($0 / 20)", Int32($0 % 20)) }
            for (number, partition) in all.enumerated() { table.assign(partition, at: Int64(number)) }
            for (number, partition) in all.enumerated() {
                let (slot, next) = (table.slot(of: partition), table.next(of: partition))
                #expect(slot == number && next == Int64(number))
            }
            let strangers = [TopicPartition("t0", 20), TopicPartition("t", 0)].compactMap { table.slot(of: $0) }
            table.unassign(all[7])
            let (gone, left) = (table.next(of: all[7]), table.assigned.count)
            #expect(strangers.isEmpty && gone == nil && left == 499)
            // It keeps its slot.
            table.assign(all[7], at: 70)
            let (slot, next) = (table.slot(of: all[7]), table.next(of: all[7]))
            #expect(slot == 7 && next == 70)
        }

        /// As where its only replica is on a broker that restarts: it exists, and comes back.
        @Test func aPartitionWithoutALeaderIsWaitedFor() throws {
            let mock = try MockCluster(brokers: 2)
            mock.createTopic("headless")
            mock.lead("headless", 0, broker: -1)
            let admin = try KafkaAdmin(KafkaSettings(brokers: mock.brokers, clientID: "test"))
            let partition = TopicPartition("headless", 0)
            let error = failure { _ = try admin.bounds(of: partition, timeout: .seconds(1)) }
            #expect(error?.disposition == .retriable)
            mock.lead("headless", 0, broker: 2)
            #expect(try admin.bounds(of: partition, timeout: .seconds(20)).high == 0)
        }

        /// librdkafka before 2.3 ends the process where such a consumer is freed (librdkafka#4312).
        @Test func aMemberMayBeFreedBetweenItsJoiningAndItsFirstAssignment() throws {
            let joined = Atomic<Bool>(false)
            let events = KafkaEvents(
                log: { line in
                    if line.text.contains("JoinGroup response") { joined.store(true, ordering: .releasing) }
                }, error: { _ in })
            let settings = try KafkaSettings(brokers: mock.brokers, clientID: "test", properties: ["debug": "cgrp"])
            for isClosed in [false, true] {
                joined.store(false, ordering: .releasing)
                mock.delay(broker: 1, milliseconds: 0)
                let member = try GroupConsumer(
                    settings, group: "g\(isClosed)", topics: ["t"], assignment: .cooperative, events: events)
                var isSlow = false
                let deadline = Deadline(after: patience)
                while !joined.load(ordering: .acquiring), !deadline.hasPassed {
                    let event = member.poll(timeout: .milliseconds(5)) { _ in }
                    if case .assigned = event { Issue.record("it was assigned without having joined") }
                    // The answer to the joining comes 3 s after it; the one after that shall be late.
                    if !isSlow, deadline.remaining < patience - .milliseconds(1500) {
                        isSlow = true
                        mock.delay(broker: 1, milliseconds: 1000)
                    }
                }
                let hasJoined = joined.load(ordering: .acquiring)
                #expect(hasJoined)
                if isClosed { member.close(timeout: .milliseconds(100)) }
            }
        }

        @Test func retriableErrorsAreRetriedInside() throws {
            mock.fail(
                .initProducerID,
                with: [RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR])
            let (producer, topic) = try producer()
            mock.fail(.endTransaction, with: [RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE])
            mock.fail(.produce, with: [RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION])
            try producer.transaction(["a"], to: topic)
        }

        @Test func initGivesUpAtItsDeadlineAndMayBeCalledAgain() throws {
            mock.fail(
                .initProducerID,
                with: .init(repeating: RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, count: 1000))
            let producer = try TransactionalProducer(settings, ProducerOptions(transactionalID: "id"))
            let start = ContinuousClock.now
            let error = failure { try producer.initTransactions(timeout: .milliseconds(700)) }
            #expect(error?.disposition == .retriable)
            #expect(ContinuousClock.now - start < .seconds(5))
            mock.clear(.initProducerID)
            try producer.initTransactions(timeout: patience)
        }

        @Test func refusedBatchIsAbortableAndTheProducerGoesOn() throws {
            let (producer, topic) = try producer()
            mock.fail(.produce, with: [RD_KAFKA_RESP_ERR_INVALID_RECORD])
            try producer.begin()
            try producer.produce("a", to: topic, partition: 0)
            let error = failure { try producer.commit(timeout: patience) }
            #expect(error?.disposition == .abortable)
            #expect(producer.takeDeliveryFailures()?.error.name == "INVALID_RECORD")
            try producer.abort(timeout: patience)
            #expect(try producer.transactionAfterRefusal(["b"], to: topic) <= 1)
        }

        @Test func produceAfterTheTransactionHasFailedIsAbortable() throws {
            let (producer, topic) = try producer()
            mock.fail(.produce, with: [RD_KAFKA_RESP_ERR_INVALID_RECORD])
            try producer.begin()
            try producer.produce("a", to: topic, partition: 0)
            #expect(failure { try producer.flush(timeout: patience) } == nil)
            let deadline = Deadline(after: patience)
            var error: KafkaError?
            while error == nil, !deadline.hasPassed {
                error = failure { try producer.produce("b", to: topic, partition: 0) }
                producer.poll(.milliseconds(1))
            }
            #expect(error?.disposition == .abortable)
            try producer.abort(timeout: patience)
        }

        @Test(arguments: [RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, RD_KAFKA_RESP_ERR_PRODUCER_FENCED])
        func fencedCommit(_ code: rd_kafka_resp_err_t) throws {
            let (producer, topic) = try producer()
            try producer.begin()
            try producer.produce("a", to: topic, partition: 0)
            mock.fail(.endTransaction, with: [code])
            #expect(failure { try producer.commit(timeout: patience) }?.disposition == .fenced)
            #expect(failure { try producer.begin() }?.disposition == .fenced)
        }

        @Test func forbiddenTransactionalIDIsFatal() throws {
            mock.fail(.initProducerID, with: [RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED])
            let producer = try TransactionalProducer(settings, ProducerOptions(transactionalID: "id"))
            let error = failure { try producer.initTransactions(timeout: patience) }
            #expect(error?.disposition == .fatal)
            #expect(error?.reason == .authorization)
        }

        @Test func commitWithoutBrokersIsIndefiniteAndDiscardingIsQuick() throws {
            var pair: (TransactionalProducer, TransactionalProducer.Topic)? = try producer()
            guard let (producer, topic) = pair else { return }
            try producer.begin()
            let value = [UInt8](repeating: 1, count: 1000)
            mock.set(broker: 1, down: true)
            for _ in 0..<1000 {
                _ = try producer.produce(to: topic, partition: 0, key: nil, value: value.span, retention: .borrowed)
            }
            let start = ContinuousClock.now
            let error = failure { try producer.commit(timeout: .milliseconds(500)) }
            #expect(error?.disposition == .indefinite)
            #expect(ContinuousClock.now - start < .seconds(3))
            let discarded = ContinuousClock.now
            _ = consume producer
            pair = nil
            #expect(ContinuousClock.now - discarded < .seconds(3))
        }

        @Test func clientsWithoutAnyBrokerKeepTheirDeadlines() throws {
            let nobody = try KafkaSettings(brokers: "127.0.0.1:1", clientID: "test")
            let start = ContinuousClock.now
            let admin = try KafkaAdmin(nobody)
            let short = Duration.milliseconds(300)
            #expect(failure { _ = try admin.describeCluster(timeout: short) } != nil)
            #expect(failure { _ = try admin.partitionCount(of: "t", timeout: short) }?.disposition == .retriable)
            #expect(failure { _ = try admin.bounds(of: TopicPartition("t", 0), timeout: short) } != nil)
            #expect(failure { _ = try admin.configuration(ofTopic: "t", timeout: short) } != nil)
            let group = try GroupConsumer(nobody, group: "g", topics: ["t"])
            _ = group.poll(timeout: short) { _ in }
            #expect(
                failure {
                    try group.commit([PartitionOffset(TopicPartition("t", 0), offset: 1)], timeout: short)
                } != nil)
            #expect(failure { _ = try group.committed([TopicPartition("t", 0)], timeout: short) } != nil)
            _ = group.close(timeout: short)
            #expect(ContinuousClock.now - start < .seconds(20))
        }

        @Test func errorsAndLogLinesGoToTheClosures() throws {
            let seen = Seen()
            let events = KafkaEvents(log: { seen.log($0) }, error: { seen.error($0) })
            let nobody = try KafkaSettings(brokers: "127.0.0.1:1", clientID: "test")
            let producer = try TransactionalProducer(nobody, ProducerOptions(transactionalID: "id"), events: events)
            let deadline = Deadline(after: patience)
            while seen.errors.isEmpty || seen.lines.isEmpty, !deadline.hasPassed { producer.poll(.milliseconds(50)) }
            #expect(seen.errors.contains { $0.reason == .unreachable })
            #expect(seen.errors.allSatisfy { $0.disposition == .retriable })
            // The line of the same failure: where it was, how grave it is, and whose it is.
            let line = try #require(seen.lines.first { $0.facility == "FAIL" }, "\(seen.lines)")
            #expect(line.level == 3 && line.text.contains("127.0.0.1:1") && line.text.contains("Connect"), "\(line)")
        }
    }
}
