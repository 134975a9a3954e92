import Testing

@testable import Kafka

/// A member that starts where it is told and remembers what it was shown and told.
final class Member {
    let consumer: GroupConsumer
    var starts: [TopicPartition: Int64] = [:]
    var values: [String] = []
    var assigned: Set<TopicPartition> = []
    var ends: Set<TopicPartition> = []
    var errors: [KafkaError] = []
    var revocations = 0

    init(_ consumer: GroupConsumer) { self.consumer = consumer }

    func step(_ timeout: Duration = .milliseconds(50)) throws {
        switch consumer.poll(timeout: timeout, { values.append(text($0.value) ?? "<null>") }) {
        case .assigned(let partitions):
            try consumer.assign(at: partitions.map { PartitionOffset($0, offset: starts[$0] ?? 0) })
            assigned.formUnion(partitions)
        case .revoked(let partitions), .lost(let partitions):
            revocations += 1
            assigned.subtract(partitions)
            try consumer.acknowledgeRevocation()
        case .partitionEnd(let partition, _): ends.insert(partition)
        case .error(let error, _): errors.append(error)
        case nil: break
        }
    }
}

extension BrokerTests {
    @Suite(.serialized, .enabled(if: TestEnvironment.brokers != nil, "SLUICE_TEST_KAFKA is not set"))
    struct GroupTests {
        let cluster: TestCluster

        init() throws { cluster = try TestCluster() }

        private func member(
            _ group: String, _ topic: String, _ assignment: GroupConsumer.Assignment = .eager
        ) throws -> Member {
            Member(try GroupConsumer(cluster.settings, group: group, topics: [topic], assignment: assignment))
        }

        private func turn(_ members: [Member], until done: () throws -> Bool) throws {
            let deadline = Deadline(after: patience)
            while try !done() {
                try #require(!deadline.hasPassed)
                for member in members { try member.step() }
            }
        }

        @Test(arguments: [GroupConsumer.Assignment.eager, .cooperative])
        func twoMembersDivideAndOneTakesOver(_ assignment: GroupConsumer.Assignment) throws {
            let name = try cluster.topic("members", partitions: 4)
            let group = TestCluster.unique("group")
            let first = try member(group, name, assignment)
            try turn([first]) { first.assigned.count == 4 }
            let second = try member(group, name, assignment)
            try turn([first, second]) { first.assigned.count == 2 && second.assigned.count == 2 }
            #expect(first.assigned.isDisjoint(with: second.assigned))
            #expect(first.revocations > 0)
            #expect(Set(second.consumer.assigned.map(\.partition)) == second.assigned)

            let producer = try cluster.producer()
            let topic = try producer.topic(name, timeout: patience)
            try producer.begin()
            for value in 0..<40 { try producer.produce("\(value)", to: topic, partition: Int32(value % 4)) }
            try producer.commit(timeout: patience)
            try turn([first, second]) { first.values.count + second.values.count >= 40 }
            #expect(Set(first.values).isDisjoint(with: Set(second.values)))
            #expect(Set(first.values + second.values).count == 40)

            #expect(second.consumer.close(timeout: patience))
            try turn([first]) { first.assigned.count == 4 }
            #expect(first.errors.isEmpty)
            #expect(first.consumer.close(timeout: patience))
            #expect(first.consumer.close(timeout: patience))
        }

        @Test func startsAtTheCallersOffsetsAndKeepsMetadata() throws {
            let name = try cluster.topic("offsets")
            let partition = TopicPartition(name, 0)
            let group = TestCluster.unique("group")
            let producer = try cluster.producer()
            try producer.transaction(
                ["a", "b", "c", "d"], to: try producer.topic(name, timeout: patience))
            let first = try member(group, name)
            first.starts[partition] = 2
            try turn([first]) { first.ends.contains(partition) }
            #expect(first.values == ["c", "d"])
            #expect(try first.consumer.committed([partition], timeout: patience) == [])
            let stored = PartitionOffset(partition, offset: 3, metadata: "topic+0+0000000001.json ö")
            try first.consumer.commit([stored], timeout: patience)
            #expect(first.consumer.close(timeout: patience))

            let second = try member(group, name)
            #expect(try second.consumer.committed([partition], timeout: patience) == [stored])
            second.starts[partition] = 3
            try turn([second]) { second.ends.contains(partition) }
            #expect(second.values == ["d"])
            #expect(second.consumer.position(of: partition) == 4)
        }

        @Test func seekPauseAndResume() throws {
            let name = try cluster.topic("pause", partitions: 2)
            let (one, two) = (TopicPartition(name, 0), TopicPartition(name, 1))
            let producer = try cluster.producer()
            let topic = try producer.topic(name, timeout: patience)
            try producer.begin()
            for value in 0..<100 { try producer.produce("\(value)", to: topic, partition: Int32(value % 2)) }
            try producer.commit(timeout: patience)
            let member = try member(TestCluster.unique("group"), name)
            try turn([member]) { member.ends == [one, two] }
            #expect(member.values.count == 100)

            member.values = []
            member.ends = []
            try member.consumer.pause([two])
            try member.consumer.seek(to: PartitionOffset(one, offset: 48), timeout: patience)
            try member.consumer.seek(to: PartitionOffset(two, offset: 47), timeout: patience)
            try turn([member]) { member.ends.contains(one) }
            #expect(member.values == ["96", "98"])
            try member.consumer.resume([two])
            try turn([member]) { member.ends.contains(two) }
            #expect(member.values == ["96", "98", "95", "97", "99"])
        }

        @Test func pausingInTheMiddleOfABatchLosesAndRepeatsNothing() throws {
            let name = try cluster.topic("middle")
            let partition = TopicPartition(name, 0)
            let producer = try cluster.producer()
            try producer.transaction((0..<500).map { "\($0)" }, to: try producer.topic(name, timeout: patience))
            let consumer = try GroupConsumer(cluster.settings, group: TestCluster.unique("group"), topics: [name])
            let member = Member(consumer)
            try turn([member]) { !member.assigned.isEmpty }
            var seen = member.values
            var pauses: Set<Int> = [seen.count + 31, 333]
            let deadline = Deadline(after: patience)
            while seen.count < 500 {
                try #require(!deadline.hasPassed)
                var paused = false
                _ = consumer.poll(upTo: 100, timeout: .seconds(1)) { record in
                    seen.append(text(record.value) ?? "")
                    // From inside the body, while the rest of the batch is still in hand.
                    if pauses.remove(seen.count) != nil {
                        paused = true
                        #expect(failure { try consumer.pause([partition]) } == nil)
                    }
                }
                if paused { try consumer.resume([partition], timeout: patience) }
            }
            #expect(pauses.isEmpty)
            #expect(seen == (0..<500).map { "\($0)" })
        }

        @Test(arguments: [GroupConsumer.Assignment.eager, .cooperative])
        func offsetOutOfRangeIsAnEvent(_ assignment: GroupConsumer.Assignment) throws {
            let name = try cluster.topic("range")
            let partition = TopicPartition(name, 0)
            let producer = try cluster.producer()
            try producer.transaction(["a", "b"], to: try producer.topic(name, timeout: patience))
            let member = try member(TestCluster.unique("group"), name, assignment)
            member.starts[partition] = 1000
            try turn([member]) { member.errors.contains { $0.disposition != .retriable } }
            #expect(member.errors.first { $0.disposition != .retriable }?.reason == .offsetOutOfRange)
            #expect(member.values == [])
            // It goes on from where the caller says.
            try member.consumer.seek(to: PartitionOffset(partition, offset: 1), timeout: patience)
            try turn([member]) { member.ends.contains(partition) }
            #expect(member.values == ["b"])
        }

        @Test func freeingAMemberThatWasNotClosedIsQuick() throws {
            let name = try cluster.topic("free")
            var member: Member? = try member(TestCluster.unique("group"), name)
            if let member { try turn([member]) { !member.assigned.isEmpty } }
            let start = ContinuousClock.now
            member = nil
            #expect(ContinuousClock.now - start < .seconds(5))
        }
    }
}
