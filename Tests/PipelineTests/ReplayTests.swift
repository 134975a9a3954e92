import ChangeData
import Testing

@testable import Pipeline

/// Microseconds.
private func seconds(_ count: Int64) -> Int64 { count * 1_000_000 }

@Suite struct ReplayWindowTests {
    private func mark(_ lsn: UInt64, _ time: Int64) -> ReplayWindow.Mark { .init(lsn: LSN(lsn), time: seconds(time)) }

    @Test func withoutAgeAndBytesThereIsNone() {
        #expect(ReplayWindow(age: 0, bytes: 0) == nil)
        #expect(ReplayWindow(age: 1, bytes: 0) != nil)
        #expect(ReplayWindow(age: 0, bytes: 1) != nil)
    }

    @Test func byAgeTheLastMarkThatIsOldEnoughIsReleased() throws {
        let window = try #require(ReplayWindow(age: seconds(60), bytes: 0))
        let marks = [mark(100, 0), mark(200, 30), mark(300, 90)]
        #expect(window.release(durable: LSN(400), marks: marks, now: seconds(59)) == nil)
        #expect(window.release(durable: LSN(400), marks: marks, now: seconds(60)) == LSN(100))
        #expect(window.release(durable: LSN(400), marks: marks, now: seconds(149)) == LSN(200))
        #expect(window.release(durable: LSN(400), marks: marks, now: seconds(150)) == LSN(300))
        #expect(
            window.release(durable: LSN(250), marks: marks, now: seconds(999)) == LSN(250), "never past what is durable"
        )
        #expect(window.release(durable: LSN(400), marks: [], now: seconds(999)) == nil)
    }

    @Test func byBytesTheSlotStandsThatFarBehind() throws {
        let window = try #require(ReplayWindow(age: 0, bytes: 100))
        #expect(window.release(durable: LSN(90), marks: [], now: 0) == nil)
        #expect(window.release(durable: LSN(400), marks: [], now: 0) == LSN(300))
    }

    @Test func theWindowEndsAtWhicheverBoundIsReachedFirst() throws {
        let window = try #require(ReplayWindow(age: seconds(60), bytes: 100))
        let marks = [mark(100, 0), mark(350, 30)]
        #expect(window.release(durable: LSN(400), marks: marks, now: seconds(61)) == LSN(300))
        #expect(window.release(durable: LSN(400), marks: marks, now: seconds(90)) == LSN(350))
    }

    @Test func marksAreFewAndCoverTheWindow() throws {
        let window = try #require(ReplayWindow(age: seconds(80), bytes: 0))
        var marks: [ReplayWindow.Mark] = []
        for second in Int64(0)..<1000 {
            let lsn = LSN(UInt64(1000 + second))
            marks = window.marks(marks, passing: lsn, now: seconds(second))
            #expect(marks.count <= 10)
            let released = window.release(durable: lsn, marks: marks, now: seconds(second))
            if second >= 90 {
                let held = lsn.rawValue - (released?.rawValue ?? 0)
                #expect((80...90).contains(held), "a second a byte: held \(held) at \(second)")
            }
        }
    }

    @Test func aClockThatGoesBackKeepsTheMarksInOrder() throws {
        let window = try #require(ReplayWindow(age: seconds(80), bytes: 8))
        let marks = window.marks([mark(100, 50)], passing: LSN(200), now: seconds(10))
        #expect(marks.last == mark(200, 50))
    }

    /// One commit while the clock was a year ahead: marks travel in the progress record, so that a restart would not mend it.
    @Test(arguments: [Int64(0), 40]) func aClockThatWasFarAheadHoldsNothingUp(before: Int64) throws {
        let window = try #require(ReplayWindow(age: seconds(80), bytes: 0))
        let year: Int64 = 365 * 86_400
        var marks = window.marks([mark(900, -before)], passing: LSN(1000), now: seconds(year))
        #expect(marks.last == mark(1000, year))
        marks.insert(mark(950, before), at: marks.count - 1)
        var held: [UInt64] = []
        for second in Int64(0)...3600 {
            let lsn = LSN(UInt64(1001 + second))
            marks = window.marks(marks, passing: lsn, now: seconds(second))
            guard second > 90 else { continue }
            held.append(
                lsn.rawValue - (window.release(durable: lsn, marks: marks, now: seconds(second))?.rawValue ?? 0))
        }
        #expect(held.allSatisfy { (80...90).contains($0) }, "a second a byte: held up to \(held.max() ?? 0)")
        #expect(marks.count <= 10 && zip(marks, marks.dropFirst()).allSatisfy { $0.time < $1.time })
    }

    @Test func aPositionThatDoesNotMoveMakesNoMark() throws {
        let window = try #require(ReplayWindow(age: seconds(8), bytes: 0))
        #expect(window.marks([mark(100, 0)], passing: LSN(100), now: seconds(5)) == [mark(100, 0)])
    }

    @Test func marksNeverPileUp() throws {
        let window = try #require(ReplayWindow(age: seconds(1_000_000), bytes: 8))
        var marks: [ReplayWindow.Mark] = []
        for step in UInt64(0)..<500 { marks = window.marks(marks, passing: LSN(1000 + step * 50), now: seconds(1)) }
        #expect(marks.count <= 32)
    }
}

@Suite struct HeldBackFeedbackTests {
    private func feedback() -> ReplicationFeedback {
        var feedback = ReplicationFeedback(senderTimeout: 60_000, now: 0, heldAt: LSN(50))
        feedback.durable(upTo: LSN(100))
        feedback.received(upTo: LSN(100))
        return feedback
    }

    @Test func whatIsHeldIsNotToldSoThatAShutdownDoesNotWait() {
        var feedback = feedback()
        #expect(feedback.reportDue(now: .seconds(1)) == .init(written: LSN(100), flushed: LSN(0)))
        #expect(!feedback.confirmationLags)
    }

    @Test func whatIsReleasedIsToldOnce() {
        var feedback = feedback()
        feedback.released(upTo: LSN(80))
        #expect(feedback.reportDue(now: .seconds(1)) == .init(written: LSN(100), flushed: LSN(80)))
        #expect(feedback.reportDue(now: .seconds(11)) == .init(written: LSN(100), flushed: LSN(0)))
        #expect(feedback.finalReport() == .init(written: LSN(100), flushed: LSN(0)))
    }

    @Test func neverAheadOfDurableAndNeverBack() {
        var feedback = feedback()
        feedback.released(upTo: LSN(40))
        #expect(feedback.reportDue(now: .seconds(10))?.flushed == LSN(0), "the slot is further already")
        feedback.released(upTo: LSN(500))
        #expect(feedback.finalReport() == .init(written: LSN(100), flushed: LSN(100)))
    }

    @Test func whatKafkaLacksStillLags() {
        var feedback = feedback()
        _ = feedback.reportDue(now: .seconds(1))
        feedback.received(upTo: LSN(200))
        #expect(feedback.confirmationLags)
    }

    @Test func withoutAWindowTheFinalReportConfirmsAll() {
        var feedback = ReplicationFeedback(senderTimeout: 60_000, now: 0)
        feedback.durable(upTo: LSN(100))
        #expect(feedback.finalReport() == .init(written: LSN(100), flushed: LSN(100)))
    }
}

@Suite struct ReplayScopeTests {
    private let request = ReplayRequest(from: .lsn(LSN(16)), to: nil, topicPrefix: "again.")

    @Test func theSameRequestHasTheSameIDAndAnyOtherAnother() {
        var others = [request, request, request, request]
        others[0].from = .lsn(LSN(17))
        others[1].from = .time(16)
        others[2].to = .lsn(LSN(18))
        others[3].topicPrefix = "again"
        let ids = others.map { $0.id(name: "t") } + [request.id(name: "u"), request.id(name: "t")]
        #expect(Set(ids).count == 6)
        #expect(request.id(name: "t") == ids[5])
        #expect(ids.allSatisfy { $0.utf8.count == 16 })
    }

    @Test func itsNamesAreNotTheLiveOnes() {
        let scope = request.scope(name: "t", range: ReplayRange(from: LSN(16), to: LSN(32)))
        #expect(scope.transactionalID == "sluice.t.replay.\(scope.id)")
        #expect(scope.slot == "sluice_replay_\(scope.id)")
        #expect(scope.slot.utf8.count + "_scan".utf8.count <= 63)
    }

    @Test func theEndIsTheFirstTransactionAtOrBehindItOrWhatTheServerHasSent() {
        var end = ReplayEnd(at: LSN(100))
        end.began(at: LSN(99))
        end.sent(upTo: LSN(99))
        #expect(!end.isReached)
        end.began(at: LSN(100))
        #expect(end.isReached)
        var quiet = ReplayEnd(at: LSN(100))
        quiet.sent(upTo: LSN(100))
        #expect(quiet.isReached)
    }

    @Test func progressIsOfTheRange() {
        let range = ReplayRange(from: LSN(1000), to: LSN(2000))
        let half = ReplayProgress(range: range, at: LSN(1500), rows: 20, seconds: 2)
        #expect(half.line == "at 0/5DC, 50 %, 20 rows")
        #expect(half.bar == "[###############...............] 50 %  0/5DC of 0/7D0, 20 rows, 10 rows/s")
        #expect(ReplayProgress(range: range, at: LSN(9999), rows: 0, seconds: 0).percent == 100)
        #expect(ReplayProgress(range: range, at: LSN(0), rows: 0, seconds: 0).percent == 0)
        #expect(ReplayProgress(range: .init(from: LSN(5), to: LSN(5)), at: LSN(5), rows: 0, seconds: 0).percent == 100)
    }

    @Test func windowAndRangeAreStoredWithThePosition() {
        var position = StoredPosition(
            systemID: "7", timeline: 1, slot: "s", epoch: 2, lsn: LSN(100), options: "o", state: .streaming)
        position.marks = [
            .init(lsn: LSN(50), time: 1_795_633_610_160_929), .init(lsn: LSN(60), time: 1_795_633_610_160_930),
        ]
        position.replay = ReplayRange(from: LSN(10), to: LSN(200))
        #expect(ProgressRecord.decode(Array(ProgressRecord.encode(position).utf8)) == position)
    }

    @Test(arguments: [
        ("again.", nil), ("b_", "is a topic of the live stream, or differs from one only in . and _"),
        ("x", "is matched by postgres.tables: the sink would take it for a live one"),
        (String(repeating: "p", count: 249), "is longer than the 249 characters that Kafka allows"),
    ])
    func topicsMustNotMeetLiveOnes(prefix: String, why: String?) {
        do throws(AgentExit) {
            try ReplayTopics.check(prefix, live: ["a", "b.a"], sinks: { $0.hasPrefix("x") })
            #expect(why == nil)
        } catch {
            #expect(error.code == .usage)
            #expect(why.map { error.message.hasSuffix($0) } == true, "\(error.message)")
        }
    }
}
