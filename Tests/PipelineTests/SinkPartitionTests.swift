import ChangeData
import Kafka
import ObjectStorage
import Testing

@testable import Pipeline

private let partition = TopicPartition("t", 0)

private func at(_ lsn: UInt64) -> RecordPosition {
    RecordPosition(position: EventPosition(epoch: 1, commitLSN: LSN(lsn), ordinal: 1), commitTime: 0)
}

@Suite struct LogContinuityTests {
    private let known = LogContinuity.Landmark(offset: 19, position: at(200))
    private var continuity = LogContinuity(now: 0)

    @Test mutating func afterAnAssignmentTheNextRecordIsTheLastOneOfItsObject() {
        continuity.begin(with: known)
        #expect(continuity.isChecking && continuity.expected == known && continuity.next == nil)
        #expect(continuity.meet(known) == .same)
        #expect(!continuity.isChecking)
        #expect(continuity.look(for: known, before: 30, now: .seconds(1)) == nil, "it was looked at just now")
        #expect(continuity.look(for: known, before: 30, now: .seconds(1) + 1) == 19, "another log may be there by now")
    }

    @Test(
        arguments: [
            (20, 201, .later), (20, 200, .later), (19, 201, .another), (18, 200, .another),
        ] as [(Int64, UInt64, LogContinuity.Finding)])
    func whatIsNotThatRecord(_ offset: Int64, _ lsn: UInt64, _ finding: LogContinuity.Finding) {
        var continuity = continuity
        continuity.begin(with: known)
        #expect(continuity.meet(.init(offset: offset, position: at(lsn))) == finding)
        #expect(!continuity.isChecking)
    }

    @Test mutating func theLastRecordIsLookedForOnceInAQuietTime() {
        #expect(continuity.look(for: nil, before: 30, now: 0) == nil, "nothing is known")
        #expect(continuity.look(for: known, before: 19, now: 0) == nil, "it is to be read anyway")
        #expect(continuity.look(for: known, before: 30, now: 0) == 19)
        #expect(continuity.isChecking && continuity.next == 30)
        #expect(continuity.look(for: known, before: 31, now: .seconds(9)) == nil, "it is under way")
        #expect(continuity.meet(known) == .same && continuity.next == nil)
        #expect(continuity.look(for: known, before: 31, now: .seconds(1)) == nil, "it is done")
        #expect(continuity.look(for: .init(offset: 40, position: at(300)), before: 41, now: 0) == 40)
    }

    /// Else a record that comes a second after the one before it was shown would never be taken.
    @Test mutating func eachLookForTheSameRecordMayTakeTheNextOneLonger() {
        var now: Int64 = 0
        var looks = 0
        repeat {
            #expect(continuity.meet(known) == .same)
            continuity.read(now: now)
            now += .seconds(5)
            looks += 1
        } while continuity.look(for: known, before: 30, now: now) != nil
        #expect(looks == 5)
        let later = LogContinuity.Landmark(offset: 40, position: at(300))
        #expect(continuity.look(for: later, before: 41, now: now) == 40 && continuity.meet(later) == .same)
        continuity.read(now: now)
        #expect(continuity.look(for: later, before: 41, now: now + .seconds(1) + 1) == 40)
    }

    @Test mutating func aTopicThatHasVanishedIsLookedAtHoweverShortTheTime() {
        continuity.begin(with: known)
        #expect(continuity.meet(known) == .same)
        #expect(continuity.look(for: known, before: 30, now: 1) == nil)
        #expect(continuity.look(for: known, before: 30, now: 1, vanished: true) == 19)
    }

    @Test mutating func oneThatTheLogHasLostIsNotLookedForAtOnce() {
        #expect(continuity.look(for: known, before: 30, now: 0) == 19)
        continuity.skip()
        #expect(!continuity.isChecking && continuity.next == nil)
        #expect(continuity.look(for: known, before: 30, now: 0) == nil)
    }

    @Test mutating func oneThatWasDroppedOnTheWayIs() {
        #expect(continuity.look(for: known, before: 30, now: 0) == 19)
        continuity.drop()
        #expect(!continuity.isChecking && continuity.next == nil)
        #expect(continuity.look(for: known, before: 30, now: 0) == 19)
    }

    @Test mutating func onlyAfterAQuietTime() {
        #expect(!continuity.isDue(now: .seconds(1)) && continuity.isDue(now: .seconds(1) + 1))
        continuity.read(now: .seconds(1))
        #expect(!continuity.isDue(now: .seconds(2)) && continuity.isDue(now: .seconds(2) + 1))
    }
}

@Suite struct GroupOffsetTests {
    private let last: (object: ResumeDecision.Last, after: Deduplicator) = (
        .init(key: "t/h/t+0+0000000010.json", end: 19, lastPosition: at(200)),
        Deduplicator(mark: RecordMark(at(200).position, rank: 0), watermark: 7)
    )

    private func group(_ known: Int64?, _ note: OffsetNote? = nil, seen: Int64 = 0) -> GroupOffset {
        var group = GroupOffset(partition, known: known, note: note, store: "s")
        group.resume(from: seen, pin: "p")
        return group
    }

    private func note(store: String = "s") -> OffsetNote {
        OffsetNote(last: last.object, mark: last.after.mark, watermark: last.after.watermark, pin: "p", store: store)
    }

    @Test func itIsBehindTheLastObjectOrWhereTheNextOneBegins() {
        #expect(group(nil).next(after: nil, begin: nil) == nil, "nothing is known")
        #expect(group(nil).next(after: last, begin: nil)?.offset == 20)
        #expect(group(nil).next(after: last, begin: 22)?.offset == 22)
        #expect(group(nil).next(after: last, begin: 22)?.metadata == note().json)
        #expect(group(nil).next(after: nil, begin: 5)?.metadata == OffsetNote(last: nil, pin: "p", store: "s").json)
    }

    @Test func whatTheGroupKnowsIsNotToldAgain() {
        var group = group(20, note())
        #expect(group.committed == 20 && group.next(after: last, begin: nil) == nil)
        #expect(group.next(after: last, begin: 22)?.offset == 22)
        group.committed(22, key: last.object.key, gap: nil)
        #expect(group.committed == 22 && group.next(after: last, begin: nil) == nil, "it never goes back")
        group.abandon()
        #expect(group.next(after: last, begin: nil)?.offset == 20)
    }

    @Test func anObjectThatIsNotNamedIsTold() {
        #expect(group(20).next(after: last, begin: nil)?.metadata == note().json)
        #expect(group(20, note(store: "other")).next(after: last, begin: nil)?.metadata == note().json)
    }

    @Test func whatHeldNoRecordIsReadAgainAndUntilThenTheGroupKnowsMore() {
        let empty = OffsetNote(last: nil, pin: "p", store: "s")
        #expect(group(30, empty).next(after: nil, begin: 12) == nil)
        #expect(group(30, empty).next(after: nil, begin: 31)?.offset == 31)
        #expect(group(30, empty, seen: 32).next(after: nil, begin: nil)?.offset == 32)
    }

    /// A quiet partition would not be told of again, and the other workers would never know that all of it is in the store.
    @Test func anOffsetWithoutAWordOfOursIsToldAgain() {
        let empty = OffsetNote(last: nil, pin: "p", store: "s")
        #expect(group(30).committed == nil)
        #expect(group(30).next(after: nil, begin: 30)?.metadata == empty.json)
        #expect(group(30).next(after: nil, begin: 12)?.offset == 12, "what a stranger has read is of no matter")
        #expect(group(30, OffsetNote(last: nil, pin: "p", store: "other")).next(after: nil, begin: 30)?.offset == 30)
    }

    @Test func hoursThatMayBeUnsealedAreToldAndThatTheyAreNotAnyMore() {
        let hours = HourSet([SourceHour(7), SourceHour(9)])
        var group = group(20, note())
        let told = group.next(after: last, unsealed: hours, begin: nil)
        #expect(told?.offset == 20 && told?.metadata.flatMap(OffsetNote.init(json:))?.unsealed == hours)
        group.committed(20, key: last.object.key, gap: nil, unsealed: hours)
        #expect(group.next(after: last, unsealed: hours, begin: nil) == nil)
        #expect(group.next(after: last, begin: nil)?.metadata == note().json)
    }

    @Test func aLossThatWasAcceptedIsToldUntilAnObjectHasIt() {
        var group = group(20, seen: 25)
        let told = group.next(after: last, gap: 20...24, begin: nil)
        let said = told?.metadata.flatMap(OffsetNote.init(json:))
        #expect(told?.offset == 25 && said?.gap == 20...24 && said?.last == last.object)
        group.committed(25, key: last.object.key, gap: 20...24)
        #expect(group.next(after: last, gap: 20...24, begin: nil) == nil)
        #expect(group.next(after: last, begin: nil)?.metadata == note().json)
    }
}

@Suite struct PutOrderTests {
    private let queue = StoreQueue()

    /// A complete object of one record.
    private func segment(_ offset: Int64) throws -> Segment {
        let segment = try Segment(
            partition: partition, first: offset, at: at(100), before: Deduplicator(), gap: nil, compression: .none,
            now: 0)
        segment.cover(offset, at: at(100), as: .tombstone, bytes: 0)
        try segment.seal(after: Deduplicator(), PackerPool(.none, count: 0))
        return segment
    }

    /// The offset of the object that is to be put, and the generation that was named.
    private func put() -> [Int64]? {
        guard queue.hasWork, case .put(let segment, let generation) = queue.pop() else { return nil }
        queue.answer(.put(segment, generation: generation, .created(bytes: 0)))
        _ = queue.takeResult()
        return [segment.start, Int64(generation)]
    }

    @Test func theNextIsPutWhenTheOneBeforeIsThere() throws {
        var puts = PutOrder(partition, queue, generation: 1)
        let (first, second) = (try segment(10), try segment(11))
        puts.add(first)
        puts.add(second)
        #expect(put() == [10, 1] && put() == nil)
        puts.stored(second)
        #expect(puts.waiting.count == 2 && puts.last == nil, "it is not its turn")
        puts.stored(first)
        #expect(puts.last?.object.end == 10 && puts.last?.object.key == first.key)
        #expect(put() == [11, 1] && put() == nil)
        puts.stored(second)
        #expect(puts.waiting.isEmpty && puts.last?.object.end == 11 && put() == nil)
    }

    @Test func whatIsGivenUpIsNotPut() throws {
        var puts = PutOrder(partition, queue, generation: 1)
        puts.add(try segment(10))
        puts.drop(next: 2)
        #expect(puts.waiting.isEmpty && puts.generation == 2 && put() == nil)
        puts.add(try segment(20))
        #expect(put() == [20, 2])
    }
}
