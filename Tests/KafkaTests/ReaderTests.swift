import Glibc
import Testing

@testable import Kafka

extension BrokerTests {
    @Suite(.serialized, .enabled(if: TestEnvironment.brokers != nil, "SLUICE_TEST_KAFKA is not set"))
    struct ReaderTests {
        let cluster: TestCluster

        init() throws { cluster = try TestCluster() }

        @Test func openTransactionHoldsTheStableOffset() throws {
            let name = try cluster.topic("open")
            let partition = TopicPartition(name, 0)
            let producer = try cluster.producer()
            let topic = try producer.topic(name, timeout: patience)
            try producer.transaction(["a"], to: topic)
            try producer.begin()
            try producer.produce("open", to: topic)
            try producer.flush(timeout: patience)

            let reader = try CommittedReader(cluster.settings)
            let open = try reader.bounds(of: partition, timeout: patience)
            #expect(open == PartitionBounds(low: 0, lastStable: 2, high: 3))
            #expect(open.hasOpenTransaction)
            #expect(try cluster.admin.bounds(of: partition, timeout: patience) == open)
            let last = try reader.lastRecord(of: partition, timeout: patience)
            #expect(last.bounds.hasOpenTransaction)
            #expect(last.record?.value == Array("a".utf8))

            try producer.commit(timeout: patience)
            let closed = try lastRecord(of: partition, reader, once: 4)
            #expect(closed.bounds == PartitionBounds(low: 0, lastStable: 4, high: 4))
            #expect(closed.record?.value == Array("open".utf8))
            #expect(closed.record?.offset == 2)
        }

        /// The last record once the log is decided up to an offset: the coordinator writes its markers after it has answered.
        private func lastRecord(
            of partition: TopicPartition, _ reader: CommittedReader, once stable: Int64
        ) throws -> (record: StoredRecord?, bounds: PartitionBounds) {
            var last = try reader.lastRecord(of: partition, timeout: patience)
            for _ in 0..<200 where last.bounds.lastStable < stable {
                usleep(20_000)
                last = try reader.lastRecord(of: partition, timeout: patience)
            }
            return last
        }

        /// The fetcher waits at the end of the log while what it fetched is shown: the reader must not wait with it.
        @Test func whatWasFetchedIsShownWithoutWaitingAtTheEndOfTheLog() throws {
            let name = try cluster.topic("tail")
            let producer = try cluster.producer()
            let value = String(repeating: "alike ", count: 200)
            try producer.transaction(
                Array(repeating: value, count: 20_000), to: try producer.topic(name, timeout: patience))
            // So small a queue rings some 90 times.
            let reader = try CommittedReader(cluster.settings, ReaderOptions(queueBytes: 1 << 20))
            try reader.start(TopicPartition(name, 0), at: 0)
            var shown = 0
            var began: ContinuousClock.Instant?
            let deadline = ContinuousClock.now + patience * 3
            while shown < 20_000, ContinuousClock.now < deadline {
                _ = reader.poll(timeout: .seconds(1)) { _ in
                    began = began ?? ContinuousClock.now
                    shown += 1
                }
            }
            #expect(shown == 20_000)
            let took = ContinuousClock.now - (began ?? ContinuousClock.now)
            #expect(took < .seconds(8), "\(took)")
        }

        @Test func lastRecordIsFoundBehindAbortedAndControlRecords() throws {
            let name = try cluster.topic("last", ["cleanup.policy": "compact"])
            let partition = TopicPartition(name, 0)
            let reader = try CommittedReader(cluster.settings)
            #expect(try reader.lastRecord(of: partition, timeout: patience).record == nil)

            let producer = try cluster.producer()
            let topic = try producer.topic(name, timeout: patience)
            try producer.begin()
            try producer.produce("found", key: "k", to: topic, partition: 0)
            try producer.commit(timeout: patience)
            // More aborted records than one look back covers, in transactions with and without records of their own.
            for _ in 0..<5 {
                try producer.begin()
                for _ in 0..<50 { try producer.produce("lost", key: "k", to: topic, partition: 0) }
                try producer.flush(timeout: patience)
                try producer.abort(timeout: patience)
            }
            let last = try lastRecord(of: partition, reader, once: 257)
            #expect(last.record?.offset == 0)
            #expect(last.record?.key == Array("k".utf8))
            #expect(last.record?.value == Array("found".utf8))
            #expect(last.bounds == PartitionBounds(low: 0, lastStable: 257, high: 257))
        }

        @Test func onlyAbortedRecordsAreNone() throws {
            let name = try cluster.topic("aborted")
            let producer = try cluster.producer()
            try producer.transaction(["x"], to: try producer.topic(name, timeout: patience), commit: false)
            let reader = try CommittedReader(cluster.settings)
            let last = try lastRecord(of: TopicPartition(name, 0), reader, once: 2)
            #expect(last.record == nil)
            #expect(last.bounds.high == 2)
        }

        @Test func offsetOutsideTheLogIsAnErrorAndNoReset() throws {
            let name = try cluster.topic("range")
            let partition = TopicPartition(name, 0)
            let producer = try cluster.producer()
            try producer.transaction(["a", "b", "c"], to: try producer.topic(name, timeout: patience))
            try cluster.admin.deleteRecords(
                below: [PartitionOffset(partition, offset: 2)], timeout: patience)
            #expect(try cluster.admin.bounds(of: partition, timeout: patience).low == 2)
            for offset: Int64 in [0, 100] {
                let reader = try CommittedReader(cluster.settings)
                try reader.start(partition, at: offset)
                var shown = 0
                var found: KafkaError?
                let deadline = Deadline(after: patience)
                while found == nil, !deadline.hasPassed {
                    if case .error(let error, let place) = reader.poll(timeout: patience, { _ in shown += 1 }),
                        error.disposition != .retriable
                    {
                        found = error
                        #expect(place == partition)
                    }
                }
                #expect(found?.reason == .offsetOutOfRange)
                #expect(shown == 0)
            }
        }

        @Test func absentTopicIsAnErrorAndNotCreated() throws {
            let name = TestCluster.unique("absent")
            let reader = try CommittedReader(cluster.settings)
            let error = failure {
                _ = try reader.lastRecord(of: TopicPartition(name, 0), timeout: .seconds(5))
            }
            #expect(error?.reason == .unknownTopic)
            #expect(try cluster.admin.partitionCount(of: name, timeout: patience) == nil)
        }

        @Test func readsInPiecesStopsAndStartsAgain() throws {
            let name = try cluster.topic("pieces", partitions: 2)
            let producer = try cluster.producer()
            let topic = try producer.topic(name, timeout: patience)
            try producer.begin()
            for value in 0..<100 { try producer.produce("\(value)", to: topic, partition: Int32(value % 2)) }
            try producer.commit(timeout: patience)
            try cluster.decided(name, partitions: 0..<2)
            let reader = try CommittedReader(cluster.settings)
            let even = TopicPartition(name, 0)
            let odd = TopicPartition(name, 1)
            try reader.start(even, at: 0)
            var values: [String] = []
            while values.count < 7 {
                _ = reader.poll(upTo: 7 - values.count, timeout: patience) { values.append(text($0.value) ?? "") }
            }
            #expect(values == (0..<7).map { "\($0 * 2)" })
            #expect(reader.position(of: even) == 7)
            // What was fetched is dropped, and read again.
            try reader.start(even, at: 5)
            try reader.start(odd, at: 49)
            var ends: Set<TopicPartition> = []
            values = []
            while ends.count < 2 {
                let event = reader.poll(timeout: patience) { values.append(text($0.value) ?? "") }
                if case .partitionEnd(let partition, let offset) = event {
                    ends.insert(partition)
                    #expect(offset == 51)
                }
            }
            #expect(values.filter { (Int($0) ?? 1) % 2 == 0 } == (5..<50).map { "\($0 * 2)" })
            #expect(values.filter { (Int($0) ?? 0) % 2 == 1 } == ["99"])
            reader.stop()
            #expect(reader.poll(timeout: .milliseconds(50)) { _ in Issue.record("a record after stop") } == nil)
        }

        @Test func errorOfTheCallersBodyPassesThrough() throws {
            struct Stop: Error {}
            let name = try cluster.topic("throw")
            let producer = try cluster.producer()
            try producer.transaction(["a", "b"], to: try producer.topic(name, timeout: patience))
            try cluster.decided(name)
            let reader = try CommittedReader(cluster.settings)
            try reader.start(TopicPartition(name, 0), at: 0)
            #expect(throws: Stop.self) {
                _ = try reader.poll(timeout: patience) { _ throws(Stop) in throw Stop() }
            }
            var values: [String] = []
            while values.isEmpty { _ = reader.poll(timeout: patience) { values.append(text($0.value) ?? "") } }
            #expect(values == ["b"])
        }
    }
}
