import ChangeData
import Glibc
import Kafka
import ObjectStorage
import Testing

@testable import Pipeline
import Threads

@Suite struct SealDecisionTests {
    private let noon = SourceHour(ofMicroseconds: Made.at(1).commitTime)
    private let ends: [TopicPartition: (low: Int64, high: Int64)] = [
        TopicPartition("t", 0): (0, 10), TopicPartition("t", 1): (5, 20), TopicPartition("t", 2): (7, 7),
        TopicPartition("t", 3): (0, 0),
    ]

    /// Of the third partition all is known.
    private func isComplete(
        _ reach: [Int32: SealDecision.Reach], committed: [Int32: Int64] = [:]
    ) -> Bool {
        SealDecision.isComplete(
            noon, ends: ends,
            reach: Dictionary(uniqueKeysWithValues: reach.map { (TopicPartition("t", $0), $1) }),
            committed: Dictionary(
                uniqueKeysWithValues: committed.merging([2: 7]) { given, _ in given }.map {
                    (TopicPartition("t", $0), $1)
                }))
    }

    @Test func anHourHasPassedOnlyAfterItsGrace() {
        let end = noon.next.start
        #expect(SealDecision.passed(clock: end + 59_999_999, grace: 60_000_000) < noon)
        #expect(SealDecision.passed(clock: end + 60_000_000, grace: 60_000_000) == noon)
    }

    @Test func everyPartitionMustBeReadToItsEndAndHoldNothingOfTheHour() {
        #expect(isComplete([0: .init(readTo: 10, held: nil), 1: .init(readTo: 21, held: noon.next)]))
        #expect(!isComplete([0: .init(readTo: 9, held: nil), 1: .init(readTo: 21, held: nil)]))
        #expect(!isComplete([0: .init(readTo: 10, held: noon), 1: .init(readTo: 21, held: nil)]))
        #expect(!isComplete([0: .init(readTo: 10, held: nil)]), "nothing is known of the second")
        // What is held is all that there is, once retention has emptied the log.
        let emptied = [TopicPartition("t", 0): (low: Int64(7), high: Int64(7))]
        func isPut(_ held: SourceHour?) -> Bool {
            SealDecision.isComplete(
                noon, ends: emptied, reach: [TopicPartition("t", 0): .init(readTo: 7, held: held)], committed: [:])
        }
        #expect(!isPut(noon) && isPut(noon.next) && isPut(nil))
    }

    @Test func partitionsOfOtherWorkersCountByTheGroupsOffset() {
        #expect(isComplete([0: .init(readTo: 10, held: nil)], committed: [1: 20]))
        #expect(!isComplete([0: .init(readTo: 10, held: nil)], committed: [1: 19]))
        // Retention may have taken what another worker still holds.
        #expect(!isComplete([0: .init(readTo: 10, held: nil)], committed: [1: 20, 2: 6]))
        #expect(isComplete([0: .init(readTo: 10, held: nil)], committed: [1: 20, 2: 7]))
        // And of one in which nothing ever was nobody says anything.
        func isSealed(_ low: Int64, _ high: Int64) -> Bool {
            SealDecision.isComplete(noon, ends: [TopicPartition("t", 0): (low, high)], reach: [:], committed: [:])
        }
        #expect(!isSealed(7, 7) && isSealed(0, 0))
    }

    /// A broker whose metadata is old may not know the topic.
    @Test func aTopicOfWhichNothingIsKnownIsNotComplete() {
        #expect(!SealDecision.isComplete(noon, ends: [:], reach: [:], committed: [:]))
    }

    @Test func keysOfHours() {
        let key = HourManifest.key(topic: "a.b", hour: noon, revision: 12)
        #expect(key == "a.b/year=2024/month=02/day=29/hour=12/_manifest-0012.json")
        #expect(HourManifest.revision(of: key) == 12 && SourceHour(key: key, topic: "a.b") == noon)
        #expect(SourceHour(key: key, topic: "a") == nil && SourceHour(key: "a.b/_sluice.json", topic: "a.b") == nil)
        #expect(HourManifest.revision(of: "a.b/year=2024/month=02/day=29/hour=12/a.b+0+0000000000.json") == nil)
        #expect(HourManifest.revision(of: key.replacing("0012", with: "9223372036854775807")) == nil)
        #expect(ObjectName(key: key, topic: "a.b") == nil, "it is no object of rows")
    }

    @Test func aManifestSumsUpItsObjects() throws {
        func entry(_ partition: Int32, _ start: Int64, _ lsn: UInt64) -> HourManifest.Entry {
            .init(
                key: "k\(partition)", partition: partition, size: 10,
                object: StoredObject(
                    start: start, end: start + 3, records: 3, tombstones: 1, dropped: 0, firstPosition: Made.at(lsn),
                    lastPosition: Made.at(lsn + 5), mark: nil, watermark: nil, sha256: "ab"))
        }
        let manifest = HourManifest(
            topic: "t", hour: noon, revision: 2, clock: noon.next.start, entries: [entry(1, 8, 100), entry(0, 4, 300)])
        #expect(manifest.entries.map(\.partition) == [0, 1])
        let read = try #require(HourManifest.Summary(json: Array(manifest.json.utf8)))
        #expect(read.revision == 2 && read.records == 6 && read.keys == ["k0", "k1"])
        #expect(read.firstPosition == "0/64" && read.lastPosition == "0/131")
        let empty = HourManifest(topic: "t", hour: noon, revision: 1, clock: 0, entries: [])
        #expect(HourManifest.Summary(json: Array(empty.json.utf8))?.records == 0)
    }
}

extension SinkServerTests {
    @Suite(.serialized, .enabled(if: SinkServers.brokers != nil, "SLUICE_TEST_KAFKA is not set"))
    struct SealTests {
        private let noon = SourceHour(ofMicroseconds: Made.at(1).commitTime)

        private func manifest(_ bench: SinkBench, _ hour: SourceHour) throws -> HourManifest.Summary? {
            let ledger = HourLedger(store: try bench.store())
            let found = try ledger.hour(hour, of: bench.topic)
            return found.revision == 0 ? nil : try ledger.manifest(bench.topic, hour, revision: found.revision)
        }

        @Test func anHourIsSealedWhenItsClockHasPassedAndAllOfItIsInTheStore() throws {
            let bench = try SinkBench()
            let progress = try ProgressBench(bench)
            // Nothing but the hour ends an object.
            let sink = try bench.start { $0.segments.age = .seconds(3600) }
            try bench.produce([Made(1), Made(2, minutes: 59)])
            try progress.commit(at: Made.at(2, minutes: 60))
            #expect(sink.wait { $0.sink.partitions.first?.openBytes ?? 0 > 0 }, "\(sink.log)")
            // The first row of the next hour ends the object, but not the hour: it is a second over.
            try bench.produce([Made(3, minutes: 60)])
            #expect(sink.wait { $0.objects == 1 }, "\(sink.log)")
            #expect(!sink.wait(seconds: 6) { $0.sink.topics[bench.topic]?.sealedUntil ?? 0 >= noon.next.start })
            try #require(manifest(bench, noon) == nil)
            try progress.commit(at: Made.at(3, minutes: 61))
            #expect(
                sink.wait(seconds: 20) { $0.sink.topics[bench.topic]?.sealedUntil == noon.next.start }, "\(sink.log)")
            let first = try #require(try manifest(bench, noon))
            let key = try bench.objects()[0].key
            #expect(first.revision == 1 && first.records == 2 && first.keys == [key])
            #expect(try manifest(bench, noon.next) == nil)
            // A row that was committed late.
            try bench.produce([Made(4, minutes: 30), Made(5, minutes: 62)])
            var late: HourManifest.Summary?
            #expect(
                try sink.wait(seconds: 40) { _ in
                    late = try manifest(bench, noon)
                    return late?.revision == 2
                }, "\(sink.log)")
            #expect(late?.records == 3 && late?.keys.count == 2)
            // Three hours later, two of them without a row.
            try progress.commit(at: Made.at(5, minutes: 242))
            #expect(
                sink.wait(seconds: 20) { $0.sink.topics[bench.topic]?.sealedUntil == noon.start + 4 * 3_600_000_000 },
                "\(sink.log)")
            #expect(try manifest(bench, noon.next)?.records == 2)
            #expect(try manifest(bench, SourceHour(noon.number + 2))?.records == 0)
            #expect(try manifest(bench, SourceHour(noon.number + 3))?.records == 0)
            #expect(try manifest(bench, SourceHour(noon.number + 4)) == nil)
            #expect(sink.stop() == nil)
            try bench.expectExact()
        }

        /// The ends of the log that are to be reached do not move with the clock: else a sink that is behind by more than an hour
        /// would seal nothing.
        @Test func aSinkThatIsBehindSealsWhatItHasReached() throws {
            let bench = try SinkBench()
            let progress = try ProgressBench(bench)
            let sink = try bench.start { $0.segments.age = .seconds(3600) }
            try bench.produce([Made(1), Made(2, minutes: 59)])
            #expect(sink.wait { $0.sink.partitions.first?.openBytes ?? 0 > 0 }, "\(sink.log)")
            try progress.commit(at: Made.at(2, minutes: 61))
            func sealed(_ hours: Int64, seconds: Int = 30) -> Bool {
                sink.wait(seconds: seconds) {
                    $0.sink.topics[bench.topic]?.sealedUntil ?? 0 >= noon.start + hours * 3_600_000_000
                }
            }
            #expect(sealed(1), "\(sink.log)")
            // The end that has to be reached for the second hour lies behind an open transaction.
            let one = try bench.leaveOpen(Made(3, minutes: 62), as: "one")
            try progress.commit(at: Made.at(3, minutes: 121))
            #expect(!sealed(2, seconds: 8))
            // The clock and the log go on before it is reached.
            let two = try bench.leaveOpen(Made(4, minutes: 122), as: "two")
            try progress.commit(at: Made.at(4, minutes: 181))
            #expect(!sealed(2, seconds: 8))
            try one.commit(timeout: SinkBench.patience)
            #expect(sealed(2), "\(sink.log)")
            #expect(!sealed(3, seconds: 3))
            try two.commit(timeout: SinkBench.patience)
            #expect(sealed(3), "\(sink.log)")
            #expect(sink.stop() == nil)
        }

        @Test func noHourIsSealedBeforeItHasPassed() throws {
            let bench = try SinkBench()
            let progress = try ProgressBench(bench)
            let now = Clock.system.wall() / 1000
            func at(_ lsn: UInt64, hours: Int64) -> RecordPosition {
                RecordPosition(position: Made.at(lsn).position, commitTime: now + hours * 3_600_000_000)
            }
            try bench.produce([Made("{}", at(1, hours: -2))])
            try progress.commit(at: at(2, hours: 5))
            let sink = try bench.start()
            let latest = SourceHour(ofMicroseconds: now)
            func sealedUntil() -> Int64 { sink.state.snapshot.sink.topics[bench.topic]?.sealedUntil ?? 0 }
            #expect(sink.wait(seconds: 30) { _ in sealedUntil() >= latest.start }, "\(sink.log)")
            // What runs when it is looked at: the test may be there when an hour ends.
            func running() -> SourceHour { SourceHour(ofMicroseconds: Clock.system.wall() / 1000) }
            #expect(!sink.wait(seconds: 8) { _ in sealedUntil() > running().start }, "\(sink.log)")
            #expect(sink.stop() == nil)
        }

        /// One worker has the first partition and seals; the other has put an object of a sealed hour, and tells of it itself.
        @Test func whatAnotherWorkerPutsLateIsSealedByIt() throws {
            let bench = try SinkBench(partitions: 2)
            let progress = try ProgressBench(bench)
            try bench.produce([Made(1), Made(2, minutes: 70)])
            try bench.produce([Made(3), Made(4, minutes: 70)], partition: 1)
            try progress.commit(at: Made.at(4, minutes: 70))
            let one = try bench.start()
            let two = try bench.start()
            #expect(
                one.wait(seconds: 60) { $0.sink.partitions.count == 1 } && two.wait { $0.sink.partitions.count == 1 })
            func revision() throws -> Int { try HourLedger(store: bench.store()).hour(noon, of: bench.topic).revision }
            #expect(try one.wait(seconds: 60) { _ in try revision() >= 1 }, "\(one.log)")
            try bench.produce([Made(5, minutes: 30), Made(6, minutes: 71)])
            try bench.produce([Made(7, minutes: 30), Made(8, minutes: 71)], partition: 1)
            #expect(
                try one.wait(seconds: 60) { _ in
                    let found = try HourLedger(store: bench.store()).hour(noon, of: bench.topic)
                    let named = try manifest(bench, noon)?.keys
                    return found.keys.count == 4 && named == Set(found.keys)
                }, "\(one.log)")
            #expect(one.stop() == nil && two.stop() == nil)
        }

        /// Somebody else reads in the group, or an operator has set an offset: neither says that anything is in the store.
        @Test func anOffsetThatIsNotOursSaysNothing() throws {
            let bench = try SinkBench()
            let partition = TopicPartition(bench.topic, 0)
            try bench.produce([Made(1), Made(2)])
            let services = StreamServices(clock: .system, log: .silent, state: AgentState(), stop: StopSignal())
            var log = LogEnds(try bench.settings(), services)
            for text in [nil, "", "read", OffsetNote(last: nil, pin: "p", store: "another").json] {
                try bench.commit(PartitionOffset(partition, offset: 3, metadata: text))
                #expect(try log.committed([partition]) == [:], "\(text ?? "none")")
            }
            try bench.run { $0.isDrained() }
            #expect(try log.committed([partition]) == [partition: 3])
        }

        @Test func noHourIsSealedByAStrangersOffset() throws {
            let bench = try SinkBench(partitions: 2)
            let progress = try ProgressBench(bench)
            let others = TopicPartition(bench.topic, 1)
            try bench.produce([Made(1), Made(2)], partition: 1)
            let settings = try bench.settings()
            let services = StreamServices(clock: .system, log: .silent, state: AgentState(), stop: StopSignal())
            // This worker has the first partition, in which there is nothing.
            let board = HourBoard()
            board.publish([TopicPartition(bench.topic, 0): .init(readTo: 0, held: nil)])
            let sealer = WorkerThread(name: "hours") { HourSealer(settings, services, board).run() }
            func isSealed(within seconds: Int) -> Bool {
                for _ in 0..<(seconds * 20) {
                    if services.state.snapshot.sink.topics[bench.topic]?.sealedUntil == noon.next.start { return true }
                    usleep(50_000)
                }
                return false
            }
            try bench.commit(PartitionOffset(others, offset: 3))
            try progress.commit(at: Made.at(2, minutes: 70))
            #expect(!isSealed(within: 6))
            let note = OffsetNote(last: nil, pin: "p", store: try bench.location.digest())
            try bench.commit(PartitionOffset(others, offset: 3, metadata: note.json))
            #expect(isSealed(within: 30))
            board.close()
            #expect(sealer.join(milliseconds: 10_000))
        }

        /// The last object of a partition, of an hour that nobody else would look at again.
        @Test func whatAWorkerPutLastIsSealedByWhoGoesOn() throws {
            let bench = try SinkBench()
            let progress = try ProgressBench(bench)
            try bench.produce([Made(1), Made(2, minutes: 70)])
            try progress.commit(at: Made.at(2, minutes: 70))
            try bench.run { $0.sink.topics[bench.topic]?.sealedUntil == noon.next.start }
            let late = SourceHour(noon.number - 60)
            try bench.produce([Made(3, minutes: -3600)])
            try bench.run { $0.isDrained() && $0.records == 1 }
            // As if it had ended before it came to that.
            let left = try HourLedger(store: try bench.store()).hour(late, of: bench.topic)
            #expect(left.keys.count == 1)
            if left.revision > 0 {
                try bench.store().delete(HourManifest.key(topic: bench.topic, hour: late, revision: left.revision))
            }
            try bench.run { _ in try manifest(bench, late)?.keys == Set(left.keys) }
        }

        /// Objects of hours that nobody would look at again, of which none is the last one: they are told of with the offset.
        @Test func whatIsUnsealedIsToldWithTheOffset() throws {
            let bench = try SinkBench()
            let progress = try ProgressBench(bench)
            func told() throws -> OffsetNote? { try bench.committed()?.metadata.flatMap(OffsetNote.init(json:)) }
            // The source's clock is not known: nothing is sealed.
            try bench.produce([Made(1), Made(2, minutes: -3600), Made(3, minutes: -3000), Made(4, minutes: 70)])
            try bench.run { $0.isDrained() }
            let late = [SourceHour(noon.number - 60), SourceHour(noon.number - 50)]
            #expect(try told()?.unsealed == HourSet(late + [noon, noon.next]))
            // As if somebody had sealed one long ago, before the late ones came.
            let manifest = HourManifest(topic: bench.topic, hour: noon, revision: 1, clock: 0, entries: [])
            let key = HourManifest.key(topic: bench.topic, hour: noon, revision: 1)
            _ = try bench.store().put(key, body: .bytes(Array(manifest.json.utf8)))
            try progress.commit(at: Made.at(4, minutes: 70))
            try bench.run { _ in try told()?.unsealed == HourSet([noon.next]) }
            for hour in late + [noon] { #expect(try self.manifest(bench, hour)?.records == 1) }
        }

        /// All of its hours are sealed in the end; the last ones are not kept waiting.
        @Test func aCommitOfLongAgoKeepsNoHourFromBeingSealed() throws {
            let bench = try SinkBench()
            let progress = try ProgressBench(bench)
            try bench.produce([Made(1, minutes: -60 * 230), Made(2), Made(3, minutes: 70)])
            try progress.commit(at: Made.at(3, minutes: 70))
            let (first, empty) = (SourceHour(noon.number - 230), SourceHour(noon.number - 229))
            try bench.run { $0.sink.topics[bench.topic]?.sealedUntil == noon.next.start }
            // By this worker, or the next.
            try bench.run { _ in try manifest(bench, first) != nil && manifest(bench, empty) != nil }
            #expect(try manifest(bench, first)?.records == 1 && manifest(bench, empty)?.records == 0)
            let found = try HourLedger(store: try bench.store()).revisions(of: bench.topic, from: nil)
            #expect(found.filter { $0.value == 1 }.count == 231, "and none before the first")
        }

        @Test func whatAWorkerThatWasKilledHasLeftIsSealedByTheNext() throws {
            let bench = try SinkBench()
            let progress = try ProgressBench(bench)
            try bench.produce([Made(1), Made(2, minutes: 70)])
            try progress.commit(at: Made.at(2, minutes: 70))
            try bench.run { $0.sink.topics[bench.topic]?.sealedUntil == noon.next.start }
            // As if the worker had been killed between a late object and the manifest's next revision.
            try bench.produce([Made(3, minutes: 10)])
            try bench.run { $0.isDrained() && $0.records == 1 }
            let ledger = HourLedger(store: try bench.store())
            let left = try ledger.hour(noon, of: bench.topic)
            if left.revision == 2 {
                try bench.store().delete(HourManifest.key(topic: bench.topic, hour: noon, revision: 2))
            }
            #expect(left.keys.count == 2)
            try bench.run { _ in try manifest(bench, noon)?.revision == 2 }
            #expect(try manifest(bench, noon)?.keys.count == 2)
        }
    }
}

/// The stream's position, as the sink reads it.
private final class ProgressBench {
    private let bench: SinkBench
    private let producer: TransactionalProducer
    private let topic: TransactionalProducer.Topic

    init(_ bench: SinkBench) throws {
        self.bench = bench
        let name = "sluice.\(bench.name).progress"
        _ = try bench.admin.createTopics(
            [NewTopic(name, partitions: 1, replicationFactor: 1)], timeout: SinkBench.patience)
        producer = try TransactionalProducer(bench.kafka, ProducerOptions(transactionalID: name))
        try producer.initTransactions(timeout: SinkBench.patience)
        topic = try SinkBench.topic(name, of: producer)
    }

    /// All up to this commit is in Kafka.
    func commit(at position: RecordPosition) throws {
        var stored = StoredPosition(
            systemID: "1", timeline: 1, slot: "s", epoch: 1, lsn: position.position.commitLSN, options: "",
            state: .streaming)
        stored.clock = position.commitTime
        try producer.begin()
        try ProgressStore.produce(stored, for: bench.name, to: topic, by: producer)
        try producer.commit(timeout: SinkBench.patience)
    }
}
