import Testing

@testable import ChangeData
@testable import Pipeline

@Suite struct BatchPolicyTests {
    let policy = BatchPolicy(rows: 100, bytes: 1000, interval: .milliseconds(5))

    private func batch(rows: Int, bytes: Int = 10) -> BatchPolicy.Batch {
        var batch = BatchPolicy.Batch()
        batch.rows = rows
        batch.bytes = bytes
        return batch
    }

    @Test func aTargetClosesTheBatchThoughMoreIsReady() {
        #expect(policy.atBoundary(batch(rows: 100), lastCommit: 0, now: 1, moreReady: true) == .commit)
        #expect(policy.atBoundary(batch(rows: 1, bytes: 1000), lastCommit: 0, now: 1, moreReady: true) == .commit)
    }

    @Test func belowTheTargetsWhatIsReadyJoins() {
        #expect(policy.atBoundary(batch(rows: 99), lastCommit: 0, now: .seconds(9), moreReady: true) == .more)
    }

    /// Else brokers that are slow end it: small transactions of a backlog always have another behind them.
    @Test func whatIsReadyJoinsNoBatchThatIsOld() {
        var old = batch(rows: 99)
        old.openedAt = .seconds(1)
        #expect(policy.atBoundary(old, lastCommit: 0, now: .seconds(20), moreReady: true) == .more)
        #expect(policy.atBoundary(old, lastCommit: 0, now: .seconds(21), moreReady: true) == .commit)
        #expect(policy.atBoundary(batch(rows: 0), lastCommit: 0, now: .seconds(60), moreReady: true) == .more)
    }

    @Test func nothingReadyCommitsOnceTheIntervalHasPassed() {
        #expect(
            policy.atBoundary(batch(rows: 1), lastCommit: 0, now: 1, moreReady: false) == .wait(until: .milliseconds(5))
        )
        #expect(policy.atBoundary(batch(rows: 1), lastCommit: 0, now: .milliseconds(5), moreReady: false) == .commit)
    }

    @Test func aFlowIsCommittedEveryFiftyMilliseconds() {
        let policy = BatchPolicy(rows: 100_000, bytes: 8 << 20, interval: .milliseconds(5))
        func decision(_ now: Int, bytes: Int, before: Int = 0) -> BatchPolicy.Decision {
            var flow = batch(rows: 400, bytes: bytes)
            flow.bytesBefore = before
            return policy.atBoundary(flow, lastCommit: 0, now: .milliseconds(now), moreReady: false)
        }
        #expect(decision(49, bytes: BatchPolicy.flow) == .wait(until: .milliseconds(50)))
        #expect(decision(50, bytes: BatchPolicy.flow) == .commit)
        // The first rows after a commit are still of the flow.
        #expect(decision(49, bytes: 10, before: BatchPolicy.flow) == .wait(until: .milliseconds(50)))
        #expect(decision(5, bytes: BatchPolicy.flow - 1, before: BatchPolicy.flow - 1) == .commit)
        // Where commits take long, there are fewer of them, but one a second.
        var long = batch(rows: 400, bytes: BatchPolicy.flow)
        long.commitTook = .milliseconds(30)
        #expect(
            policy.atBoundary(long, lastCommit: 0, now: 1, moreReady: false) == .wait(until: .milliseconds(150)))
        long.commitTook = .seconds(60)
        #expect(policy.atBoundary(long, lastCommit: 0, now: 1, moreReady: false) == .wait(until: .seconds(1)))
        // One large transaction after a while is no flow yet.
        #expect(decision(1000, bytes: BatchPolicy.flow) == .commit)
        // A longer interval of the configuration holds.
        let slow = BatchPolicy(rows: 100_000, bytes: 8 << 20, interval: .seconds(1))
        #expect(
            slow.atBoundary(batch(rows: 1, bytes: BatchPolicy.flow), lastCommit: 0, now: 1, moreReady: false)
                == .wait(until: .seconds(1)))
    }

    @Test func aBatchWithoutRowsIsCommittedAtMostEveryTenSeconds() {
        #expect(
            policy.atBoundary(batch(rows: 0), lastCommit: 0, now: .seconds(9), moreReady: false)
                == .wait(until: .seconds(10)))
        #expect(policy.atBoundary(batch(rows: 0), lastCommit: 0, now: .seconds(10), moreReady: false) == .commit)
    }

    @Test func aSplitIsDueAtEachBound() {
        let split = SplitPolicy(rows: 10, bytes: 100, age: .seconds(45))
        func open(rows: Int, bytes: Int = 10) -> BatchPolicy.Batch {
            // What whole transactions have brought before it does not count.
            var open = batch(rows: 1000, bytes: 10_000)
            (open.openRows, open.openBytes) = (rows, bytes)
            return open
        }
        #expect(!split.mustSplit(open(rows: 9), now: .seconds(44)))
        #expect(split.mustSplit(open(rows: 10), now: 0))
        #expect(split.mustSplit(open(rows: 1, bytes: 100), now: 0))
        #expect(split.mustSplit(open(rows: 1), now: .seconds(45)))
    }
}

@Suite struct TooLargeTests {
    private func exit(size: Int, limit: Int, request: Int?) -> AgentExit {
        TooLarge(
            table: "public.t", topic: "n.public.t", key: "{}", position: "1/0/1/1/0", size: size, limit: limit,
            requestLimit: request
        ).exit
    }

    @Test func whatIsToBeRaisedIsNamed() {
        let ofTopic = exit(size: 2_000_000, limit: 1_048_588, request: nil)
        #expect(ofTopic.code == .unrepresentable && ofTopic.hints.count == 1)
        #expect(ofTopic.hints[0].hasSuffix("max.message.bytes=4000000"))
        let both = exit(size: 136_000_000, limit: 1_048_588, request: nil)
        #expect(both.hints.count == 2 && both.hints[1].contains("socket.request.max.bytes"))
        let ofBrokers = exit(size: 136_000_000, limit: 104_853_504, request: 104_853_504)
        #expect(ofBrokers.hints.count == 1 && ofBrokers.hints[0].contains("socket.request.max.bytes"))
        #expect(!ofBrokers.message.contains("topic"))
    }
}

@Suite struct OpenBatchTests {
    private let queue = ChunkQueue<RecordChunk>(
        limit: 1000, nominal: 100, make: { RecordChunk(capacity: 100) }, size: { $0.capacity })

    private func chunk(of bytes: Int) -> RecordChunk? {
        guard queue.take() != nil else { return nil }
        let chunk = RecordChunk(capacity: bytes)
        queue.push(chunk)
        _ = queue.pop()
        return chunk
    }

    private enum Treatment { case keep, copy, drain }

    private func treatment(_ open: borrowing OpenBatch) -> Treatment {
        open.mustDrain ? .drain : open.mustCopy ? .copy : .keep
    }

    @Test func aChunkWithinTheBoundIsKeptUntilTheCommit() throws {
        var open = OpenBatch(queue: queue, retainLimit: 500)
        open.open(try #require(chunk(of: 300)))
        open.produced(0..<2, bytes: 200, now: 0)
        open.close()
        #expect(treatment(open) == .keep && queue.bytesOut == 300)
        #expect(open.batch.openRows == 2 && open.batch.openBytes == 200)
        open.reachedBoundary()
        #expect(open.batch.openRows == 0 && open.batch.openBytes == 0 && open.batch.rows == 2)
        open.committed(isPublishing: false, after: 0)
        #expect(queue.bytesOut == 0)
    }

    /// After a broker's pause many wait, each in a chunk of its own, and all of them are at hand at once.
    @Test func ofSmallTransactionsInChunksOfTheirOwnAllAreKept() throws {
        let policy = BatchPolicy(rows: 1000, bytes: 1000, interval: 0)
        var open = OpenBatch(queue: queue, retainLimit: 500)
        var commits = 0
        for _ in 0..<20 {
            open.open(try #require(chunk(of: 100)))
            open.produced(0..<1, bytes: 10, now: 0)
            open.reachedBoundary()
            #expect(treatment(open) == .keep)
            if policy.atBoundary(open.batch, lastCommit: 0, now: 0, moreReady: true) == .commit {
                open.committed(isPublishing: true, after: 0)
                commits += 1
            }
            open.close()
        }
        #expect(commits == 4 && queue.bytesOut == 0)
    }

    @Test func whatIsPastTheBoundIsLetGoAlsoWhereACommitFallsIntoTheChunk() throws {
        var open = OpenBatch(queue: queue, retainLimit: 500)
        open.open(try #require(chunk(of: 3000)))
        #expect(treatment(open) == .drain)
        open.produced(0..<1, bytes: 10, now: 0)
        open.reachedBoundary()
        open.committed(isPublishing: true, after: 0)
        // The next transaction begins in the same chunk, and its end needs room for another.
        #expect(treatment(open) == .drain)
        open.produced(1..<2, bytes: 2900, now: 0)
        open.close()
        #expect(queue.bytesOut == 0 && queue.take() != nil)
        open.reachedBoundary()
        open.committed(isPublishing: false, after: 0)
        #expect(treatment(open) == .keep)
    }

    @Test func whatIsCutOffIsTakenBackToTheLastBoundary() throws {
        var open = OpenBatch(queue: queue, retainLimit: 500)
        open.open(try #require(chunk(of: 100)))
        open.produced(0..<2, bytes: 20, now: 0)
        var isCut = open.cutBack()
        #expect(!isCut, "nothing whole is before it")
        open.reachedBoundary()
        open.committed(isPublishing: true, after: 0)
        open.produced(2..<5, bytes: 30, now: 0)
        open.reachedBoundary()
        open.produced(5..<7, bytes: 20, now: 0)
        open.close()
        open.open(try #require(chunk(of: 100)))
        open.produced(0..<4, bytes: 40, now: 0)
        open.close()
        isCut = open.cutBack()
        #expect(isCut && open.isAtBoundary && open.batch.rows == 3 && open.batch.bytes == 30)
        let ranges = open.records.map(\.range)
        #expect(ranges == [2..<5, 0..<0])
        open.open(try #require(chunk(of: 600)))
        open.produced(0..<1, bytes: 10, now: 0)
        isCut = open.cutBack()
        #expect(!isCut, "it is not all in memory")
    }

    @Test func aLargeChunkThatEndsWithACommitLeavesNothingBehind() throws {
        var open = OpenBatch(queue: queue, retainLimit: 500)
        open.open(try #require(chunk(of: 3000)))
        open.produced(0..<1, bytes: 2900, now: 0)
        open.reachedBoundary()
        open.committed(isPublishing: true, after: 0)
        open.close()
        #expect(queue.bytesOut == 0 && treatment(open) == .keep)
    }

    @Test func chunksThatAreTogetherPastTheBoundAreCopied() throws {
        var open = OpenBatch(queue: queue, retainLimit: 500)
        open.open(try #require(chunk(of: 300)))
        open.produced(0..<1, bytes: 290, now: 0)
        open.close()
        open.open(try #require(chunk(of: 300)))
        #expect(treatment(open) == .copy)
        open.produced(0..<1, bytes: 290, now: 0)
        open.close()
        #expect(queue.bytesOut == 300)
    }
}

@Suite struct ReplicationFeedbackTests {
    @Test func beforeThePositionIsKnownNothingIsConfirmed() {
        var feedback = ReplicationFeedback(senderTimeout: 60_000, now: 0)
        feedback.received(upTo: LSN(500))
        #expect(feedback.reportDue(now: .seconds(9)) == nil)
        #expect(feedback.reportDue(now: .seconds(10)) == .init(written: LSN(0), flushed: LSN(0)))
    }

    @Test func theIntervalIsAThirdOfTheServersTimeout() {
        #expect(ReplicationFeedback(senderTimeout: 3000, now: 0).interval == .seconds(1))
        #expect(ReplicationFeedback(senderTimeout: 0, now: 0).interval == .seconds(10))
        #expect(ReplicationFeedback(senderTimeout: 600_000, now: 0).interval == .seconds(10))
    }

    /// While the catalog is asked nothing is reported.
    @Test func beforeQuestionsAReportIsDueAndTheyEndBeforeTheServersTimeout() {
        var feedback = ReplicationFeedback(senderTimeout: 4000, now: 0)
        #expect(feedback.silence == .seconds(3) && feedback.interval / 4 + feedback.silence < .seconds(4))
        feedback.refresh(now: .milliseconds(300))
        #expect(feedback.reportDue(now: .milliseconds(300)) == nil)
        feedback.refresh(now: .milliseconds(400))
        #expect(feedback.reportDue(now: .milliseconds(400)) != nil)
        #expect(ReplicationFeedback(senderTimeout: 0, now: 0).silence == .seconds(45))
        #expect(ReplicationFeedback(senderTimeout: 60_000, now: 0).silence == .seconds(45))
    }

    @Test func whatIsReceivedIsNeverConfirmedBeforeItIsDurable() {
        var feedback = ReplicationFeedback(senderTimeout: 60_000, now: 0)
        feedback.durable(upTo: LSN(100))
        feedback.received(upTo: LSN(900), replyRequested: true)
        #expect(feedback.reportDue(now: 1) == .init(written: LSN(900), flushed: LSN(100)))
        #expect(feedback.reportDue(now: 2) == nil)
        feedback.durable(upTo: LSN(900))
        #expect(feedback.reportDue(now: 3) == nil)
        #expect(feedback.reportDue(now: .milliseconds(200) + 1) == .init(written: LSN(900), flushed: LSN(900)))
        #expect(!feedback.confirmationLags)
    }

    @Test func anIdlePositionNeedsQuietAMoveAndTenSeconds() {
        var feedback = ReplicationFeedback(senderTimeout: 60_000, now: 0)
        feedback.durable(upTo: LSN(100))
        feedback.received(upTo: LSN(100))
        #expect(feedback.idleDue(now: .seconds(60), quiet: true) == nil, "it did not move")
        feedback.received(upTo: LSN(200))
        #expect(feedback.idleDue(now: .seconds(60), quiet: false) == nil)
        #expect(feedback.idleDue(now: .seconds(9), quiet: true) == nil)
        #expect(feedback.idleDue(now: .seconds(10), quiet: true)?.lsn == LSN(200))
        #expect(feedback.idleDue(now: .seconds(30), quiet: true) == nil, "it is on its way already")
        feedback.durable(upTo: LSN(200))
        feedback.received(upTo: LSN(300))
        #expect(feedback.idleDue(now: .seconds(19), quiet: true) == nil)
        #expect(feedback.idleDue(now: .seconds(20), quiet: true)?.lsn == LSN(300))
    }

    @Test func anHourThatHasPassedIsToldOnceThoughNothingMoved() {
        let hour: Int64 = 3_600_000_000
        var feedback = ReplicationFeedback(senderTimeout: 60_000, now: 0, grace: 60_000_000)
        feedback.durable(upTo: LSN(100))
        feedback.received(upTo: LSN(100))
        feedback.handedOn(upTo: LSN(100), at: 10 * hour + 120_000_000)
        // A server that is further than what was received says nothing of what it has committed.
        feedback.knows(LSN(200), at: 11 * hour + 70_000_000)
        #expect(feedback.idleDue(now: .seconds(10), quiet: true) == nil)
        feedback.knows(LSN(100), at: 11 * hour + 59_000_000)
        #expect(feedback.idleDue(now: .seconds(20), quiet: true) == nil, "a commit may still be told of late")
        feedback.knows(LSN(100), at: 11 * hour + 61_000_000)
        #expect(feedback.idleDue(now: .seconds(21), quiet: false) == nil)
        #expect(
            feedback.idleDue(now: .seconds(22), quiet: true) == .init(lsn: LSN(100), clock: 11 * hour + 61_000_000))
        feedback.knows(LSN(100), at: 11 * hour + 3_500_000_000)
        #expect(feedback.idleDue(now: .seconds(60), quiet: true) == nil)
    }
}

@Suite struct SeenClockTests {
    @Test func aLookTellsOnceAllBeforeItIsThere() {
        var clock = SeenClock()
        #expect(clock.reached(LSN(100), latest: (LSN(0), 0)) == 0, "nobody has looked")
        #expect(clock.reached(LSN(100), latest: (LSN(100), 7)) == 7)
        #expect(clock.reached(LSN(100), latest: (LSN(101), 8)) == 0)
        #expect(clock.reached(LSN(101), latest: (LSN(101), 8)) == 8)
    }

    /// The newest look is then always further than what Kafka holds.
    @Test func aStreamThatIsBehindGetsFromLookToLook() {
        var clock = SeenClock()
        #expect(clock.reached(LSN(10), latest: (LSN(100), 1)) == 0)
        #expect(clock.reached(LSN(60), latest: (LSN(200), 2)) == 0)
        #expect(clock.reached(LSN(110), latest: (LSN(300), 3)) == 1)
        #expect(clock.reached(LSN(250), latest: (LSN(400), 4)) == 0, "the look that was reached led to the third")
        #expect(clock.reached(LSN(300), latest: (LSN(500), 5)) == 3)
        #expect(clock.reached(LSN(700), latest: (LSN(600), 6)) == 6)
    }

    /// It is kept in Kafka, and grows there: a moment's wrong clock would seal hours for as long as it was ahead.
    @Test func aClockThatIsAheadOfOursIsForgotten() {
        let now: Int64 = 1_700_000_000_000_000
        var position = StoredPosition(
            systemID: "7", timeline: 1, slot: "s", epoch: 1, lsn: LSN(1), options: "", state: .streaming)
        position.clock = now + 59_000_000
        position.forgetClock(aheadOf: now)
        #expect(position.clock == now + 59_000_000, "that of a server may be a little ahead")
        position.clock = now + 3_600_000_000
        position.forgetClock(aheadOf: now)
        #expect(position.clock == 0)
    }
}

@Suite struct SilentServerTests {
    private func looks(_ strange: Int, unansweredSince since: Int64? = nil) -> SilentServer.Looks {
        var looks = SilentServer.Looks()
        (looks.strange, looks.unansweredSince) = (strange, since)
        return looks
    }

    /// A server that decodes may be silent for minutes; the slot is then still ours.
    @Test func silenceAloneEndsNothing() {
        let silence = SilentServer(now: 0, senderTimeout: .seconds(60), interval: .seconds(10))
        #expect(silence.verdict(looks(0), now: .seconds(3600)) == nil)
        #expect(
            silence.verdict(looks(1), now: .seconds(3600)) == nil, "one look may be of a moment between two sessions")
        #expect(silence.verdict(looks(2), now: .seconds(29)) == nil)
        #expect(silence.verdict(looks(2), now: .seconds(30))?.contains("30 s, and the slot") == true)
    }

    /// Addresses of several servers may lead a look elsewhere: what comes says more.
    @Test func whatComesSaysThatItLives() {
        var silence = SilentServer(now: 0, senderTimeout: .seconds(60), interval: .seconds(10))
        silence.heard(at: .seconds(100))
        #expect(silence.verdict(looks(9, unansweredSince: 0), now: .seconds(120)) == nil)
    }

    @Test func aServerThatAnswersNobodyIsGivenUpInTheEnd() {
        let silence = SilentServer(now: 0, senderTimeout: .seconds(90), interval: .seconds(10))
        #expect(silence.verdict(looks(0, unansweredSince: .seconds(10)), now: .seconds(189)) == nil)
        #expect(silence.verdict(looks(0, unansweredSince: .seconds(10)), now: .seconds(190)) != nil)
        let short = SilentServer(now: 0, senderTimeout: .seconds(1), interval: .milliseconds(333))
        #expect(short.verdict(looks(0, unansweredSince: 0), now: .seconds(119)) == nil)
        #expect(short.verdict(looks(2), now: .seconds(5)) != nil)
    }
}

@Suite struct ShutdownProbeTests {
    private func at(_ received: UInt64, _ durable: UInt64 = 1, ordinal: UInt64 = 0) -> ShutdownProbe.Standing {
        let position = EventPosition(epoch: 1, commitLSN: LSN(900), ordinal: ordinal)
        return ShutdownProbe.Standing(received: LSN(received), durable: LSN(durable), position: position)
    }

    @Test func itIsDueEveryFiveSecondsWhileTheServerWaits() {
        var probe = ShutdownProbe(now: 0)
        let asked = [(4, true), (5, true), (9, true), (20, false), (24, true), (25, true)]
        let due = asked.map { second, lags in probe.isDue(now: .seconds(second), lags: lags) }
        #expect(due == [false, true, false, false, false, true])
    }

    /// A server behind a proxy that does not lead to it any more.
    @Test func oneThatTakesNoConnectionIsLetGoWhereNothingMoves() {
        var probe = ShutdownProbe(now: 0)
        let left = (0..<3).map { _ in probe.refused(at: at(5)) }
        #expect(left == [false, false, true])
    }

    @Test func aStreamThatMovesIsKept() {
        var probe = ShutdownProbe(now: 0)
        let moves = [at(5), at(5), at(6), at(6), at(6, 2), at(6, 2), at(6, 2, ordinal: 1), at(6, 2, ordinal: 2)]
        let left = moves.map { probe.refused(at: $0) }
        #expect(!left.contains(true))
    }

    @Test func oneThatAnswersOrWaitsForNothingStartsAnew() {
        var probe = ShutdownProbe(now: 0)
        var left = (0..<2).map { _ in probe.refused(at: at(5)) }
        probe.answered()
        left += (0..<2).map { _ in probe.refused(at: at(5)) }
        _ = probe.isDue(now: .seconds(50), lags: false)
        left += (0..<2).map { _ in probe.refused(at: at(5)) }
        #expect(!left.contains(true))
    }
}

@Suite struct StartDecisionTests {
    private let stored = StoredPosition(
        systemID: "7", timeline: 2, slot: "sluice_t", epoch: 1, lsn: LSN(1000), options: "a", state: .streaming)
    private var facts: StartFacts {
        StartFacts(
            slotName: "sluice_t", database: "gold", systemID: "7", timeline: 2, history: [1: LSN(400)],
            walEnd: LSN(5000),
            slot: .init(
                plugin: "pgoutput", database: "gold", confirmedFlush: LSN(1000), restart: LSN(900),
                walStatus: "reserved", invalidation: nil, holder: nil),
            options: "a", publication: "sluice_t")
    }

    private func refusal(_ stored: StoredPosition?, _ facts: StartFacts) -> StartRefusal? {
        do throws(StartRefusal) {
            try StartDecision.judge(stored, facts)
            return nil
        } catch { return error }
    }

    private func changed(_ change: (inout StartFacts) -> Void) -> StartFacts {
        var changed = facts
        change(&changed)
        return changed
    }

    @Test func allInOrderStarts() { #expect(refusal(stored, facts) == nil) }

    @Test func aSlotBehindTheStoredPositionStarts() {
        #expect(refusal(stored, changed { $0.slot?.confirmedFlush = LSN(10) }) == nil)
    }

    @Test func aPublicationThatLostATableIsRefused() {
        #expect(refusal(stored, changed { $0.publication = nil })?.kind == .publicationMissing)
        var known = stored
        known.publication = 16_400
        #expect(refusal(known, changed { $0.publicationOID = 16_400 }) == nil)
        #expect(refusal(known, changed { $0.publicationOID = 16_401 })?.kind == .publicationMissing)
        let fault = PublicationFault(table: "public.t", "does not publish public.t", cure: "ALTER PUBLICATION p")
        let lost = refusal(stored, changed { $0.faults = [fault] })
        #expect(lost?.kind == .tableUnpublished)
        #expect(lost?.message.contains("public.t") == true)
        #expect(lost?.lostBytes == 4000)
        let deletes = PublicationFault("does not publish delete", cure: "ALTER PUBLICATION p SET")
        #expect(refusal(stored, changed { $0.faults = [deletes] })?.kind == .operationUnpublished)
        #expect(refusal(stored, changed { $0.faults = [deletes, fault] })?.kind == .tableUnpublished)
    }

    @Test func aTableThatIsMissingIsRefusedWhereItMayHaveAnotherName() {
        #expect(refusal(stored, changed { $0.missing = ["public.t"] }) == nil)
        #expect(refusal(stored, changed { $0.strangers = ["public.u"] }) == nil)
        let renamed = refusal(
            stored,
            changed {
                $0.missing = ["public.t"]; $0.strangers = ["public.u"]
            })
        #expect(renamed?.kind == .tableMissing)
    }

    /// A part of it is in Kafka: the server must have its commit.
    @Test func aTransactionThatIsHalfSentMustBeTheServersToo() {
        var split = stored
        split.ordinal = 7
        split.commitLSN = LSN(3000)
        #expect(refusal(split, changed { $0.walEnd = LSN(3001) }) == nil)
        let behind = refusal(split, changed { $0.walEnd = LSN(3000) })
        #expect(behind?.kind == .serverBehind && behind?.lostBytes == nil)
        #expect(refusal(stored, changed { $0.walEnd = LSN(3000) }) == nil)
        let promoted = { (end: UInt64) in
            changed {
                $0.timeline = 3; $0.history[2] = LSN(end)
            }
        }
        #expect(refusal(split, promoted(3001)) == nil)
        #expect(refusal(split, promoted(3000))?.kind == .timelineDiverged)
    }

    /// A standby took over that lacks only WAL in which nothing was committed that is ours.
    @Test func whatNothingWasCommittedInIsCutOff() {
        var idle = stored
        idle.commitLSN = LSN(700)
        idle.mark = PublicationMark(newest: 1)
        let promoted = { (end: UInt64) in
            changed {
                $0.timeline = 3
                $0.history[2] = LSN(end)
                $0.slot?.confirmedFlush = LSN(600)
            }
        }
        let cut = try? StartDecision.judge(idle, promoted(900))
        #expect(cut?.lsn == LSN(900) && cut?.timeline == 3 && cut?.commitLSN == LSN(700))
        #expect((try? StartDecision.judge(idle, promoted(1000))) == idle)
        #expect(refusal(idle, promoted(700))?.kind == .timelineDiverged, "its commit begins there")
        #expect(refusal(stored, promoted(900))?.kind == .timelineDiverged, "it may have been at the end")
        idle.mark = nil
        #expect(refusal(idle, promoted(900))?.kind == .timelineDiverged, "an older sluice stored where messages were")
    }

    @Test func eachLossIsRefusedWithItsKind() {
        #expect(refusal(nil, facts)?.kind == .noPosition)
        var creating = stored
        creating.state = .creating
        #expect(refusal(creating, facts)?.kind == .noPosition)
        #expect(refusal(stored, changed { $0.systemID = "8" })?.kind == .otherCluster)
        #expect(refusal(stored, changed { $0.timeline = 3 })?.kind == .timelineDiverged)
        #expect(refusal(stored, changed { $0.timeline = 1 })?.kind == .timelineDiverged)
        #expect(refusal(stored, changed { $0.walEnd = LSN(999) })?.kind == .serverBehind)
        #expect(refusal(stored, changed { $0.slot = nil })?.kind == .slotMissing)
        #expect(refusal(stored, changed { $0.slot?.plugin = "test_decoding" })?.kind == .slotForeign)
        #expect(refusal(stored, changed { $0.slot?.isTwoPhase = true })?.kind == .slotForeign)
        #expect(refusal(stored, changed { $0.slot?.walStatus = "lost" })?.kind == .slotInvalidated)
        #expect(refusal(stored, changed { $0.slot?.invalidation = "idle_timeout" })?.kind == .slotInvalidated)
        let ahead = refusal(stored, changed { $0.slot?.confirmedFlush = LSN(1016) })
        #expect(ahead?.kind == .slotAhead)
        #expect(ahead?.lostBytes == 16)
    }

    /// Without a position the slot alone says whose it is: what is somebody else's is not called one that may be gone on from.
    @Test func aSlotOfSomebodyElseIsToldOfWithoutAPositionToo() {
        var creating = stored
        creating.state = .creating
        let foreign = [
            changed { $0.slot?.plugin = "test_decoding" }, changed { $0.slot?.database = "other" },
            changed { $0.slot?.isTwoPhase = true },
        ]
        for facts in foreign {
            for position in [nil, creating] {
                let found = refusal(position, facts)
                #expect(found?.kind == .slotForeign && found?.stored == nil)
                #expect(found?.hints.contains { $0.contains("accept-gap") } == false, "it would not help")
            }
        }
        let lost = changed { $0.slot?.walStatus = "lost" }
        #expect(refusal(nil, lost)?.kind == .slotInvalidated)
        #expect(refusal(creating, lost)?.kind == .noPosition, "init makes it again")
        let older = refusal(nil, changed { $0.publication = nil })
        #expect(older?.kind == .noPosition && older?.available == LSN(5000))
    }

    @Test func aNewerTimelineThatHoldsThePositionIsAccepted() {
        #expect(
            refusal(
                stored,
                changed {
                    $0.timeline = 3; $0.history[2] = LSN(1000)
                }) == nil)
        let diverged = refusal(
            stored,
            changed {
                $0.timeline = 3; $0.history[2] = LSN(999)
            })
        #expect(diverged?.kind == .timelineDiverged)
        #expect(diverged?.available == LSN(999))
    }

    @Test func optionsMayChangeBetweenTransactionsButNotInsideOne() {
        #expect(refusal(stored, changed { $0.options = "b" }) == nil)
        var split = stored
        split.ordinal = 7
        #expect(refusal(split, facts) == nil)
        #expect(refusal(split, changed { $0.options = "b" })?.kind == .optionsChanged)
    }
}

@Suite struct ChunkQueueTests {
    private func queue() -> ChunkQueue<Int> { ChunkQueue(limit: 30, nominal: 10, make: { 0 }, size: { max($0, 10) }) }

    @Test func theBoundStopsTheSourceUntilAChunkComesBack() {
        let queue = queue()
        #expect(queue.take() != nil && queue.take() != nil && queue.take() != nil)
        #expect(queue.take() == nil)
        queue.push(10)
        queue.recycle(0, bytes: 10)
        #expect(queue.freed.wait(milliseconds: 0))
        #expect(queue.take() != nil)
    }

    @Test func aLargeChunkCountsWithItsSize() {
        let queue = queue()
        _ = queue.take()
        queue.push(25)
        #expect(queue.bytesOut == 25)
        #expect(queue.take() == nil)
        queue.recycle(0, bytes: 25)
        #expect(queue.bytesOut == 0)
    }

    @Test func aChunkIsFilledFurtherWhileThePublisherHasEnoughBeforeIt() {
        let queue = queue()
        #expect(!queue.keepsBack())
        queue.push(1)
        #expect(!queue.keepsBack() && !queue.contains { _ in false })
        queue.push(2)
        #expect(queue.keepsBack())
        // The publisher sees that more is at hand, and the source hears when that is awaited, once.
        #expect(queue.contains { _ in false } && !queue.freed.wait(milliseconds: 0))
        _ = queue.pop()
        #expect(queue.freed.wait(milliseconds: 0))
        #expect(queue.contains { _ in false })
        queue.push(3)
        #expect(!queue.contains { _ in false })
        _ = queue.pop()
        #expect(!queue.freed.wait(milliseconds: 0))
        #expect(!queue.keepsBack())
        // One that ends hands on what it has.
        queue.push(4)
        queue.close()
        #expect(!queue.keepsBack())
    }

    @Test func aClosedQueueGivesWhatItHoldsAndThenItsEnd() {
        let queue = queue()
        queue.push(1)
        queue.close()
        guard case .chunk(1) = queue.pop(), case .closed = queue.pop() else {
            Issue.record("wrong order")
            return
        }
        #expect(queue.take() == nil)
        #expect(queue.filled.wait(milliseconds: 0))
    }
}

@Suite struct BackoffTests {
    @Test func itDoublesUpToItsBoundAndStartsOver() {
        var backoff = Backoff(first: 100, most: 1000)
        #expect((0..<6).map { _ in backoff.next(random: 0) } == [50, 100, 200, 400, 500, 500])
        #expect(backoff.next(random: 0.999) < 1000)
        backoff.reset()
        #expect(backoff.next(random: 0) == 50)
        for _ in 0..<200 { #expect(backoff.next(random: 0.5) <= 1000) }
    }
}

/// Against a coordinator that needs so long for its markers, and a client that asks again after 20 ms.
@Suite struct TransactionPaceTests {
    private struct Coordinator {
        var pace = TransactionPace()
        var now: Int64 = .seconds(1)
        var misses = 0

        /// One transaction after the other, each as soon as `pace` says; answers how many were too soon.
        mutating func run(_ count: Int, markers: Int64, commit: Int64, isSmall: Bool = true) -> Int {
            let before = misses
            for _ in 0..<count {
                let ended = now
                now += pace.wait(now: now)
                pace.begins(now: now)
                if now - ended < markers {
                    misses += 1
                    now += .milliseconds(20)
                }
                now += commit
                pace.committed(now: now, isSmall: isSmall)
            }
            return misses - before
        }
    }

    @Test func thePauseFindsTheMarkers() {
        for markers: Int64 in [.milliseconds(1), .milliseconds(3), .milliseconds(6)] {
            var coordinator = Coordinator()
            _ = coordinator.run(300, markers: markers, commit: .milliseconds(4))
            let began = coordinator.now
            #expect(coordinator.run(1000, markers: markers, commit: .milliseconds(4)) <= 30)
            #expect((coordinator.now - began) / 1000 < markers * 3 / 2 + .milliseconds(6))
        }
    }

    @Test func aSlowerCoordinatorIsFollowed() {
        var coordinator = Coordinator()
        _ = coordinator.run(500, markers: .milliseconds(1), commit: .milliseconds(3))
        _ = coordinator.run(100, markers: .milliseconds(8), commit: .milliseconds(12))
        #expect(coordinator.run(500, markers: .milliseconds(8), commit: .milliseconds(12)) <= 25)
    }

    @Test func neverLongerThanTheMost() {
        var coordinator = Coordinator()
        #expect(coordinator.pace.wait(now: 0) == 0)
        _ = coordinator.run(500, markers: .milliseconds(40), commit: .milliseconds(4))
        #expect(coordinator.pace.pause <= TransactionPace.most)
        #expect(coordinator.pace.wait(now: coordinator.now + TransactionPace.most) == 0)
    }

    @Test func largeTransactionsTeachNothing() {
        var coordinator = Coordinator()
        _ = coordinator.run(100, markers: .milliseconds(1), commit: .milliseconds(400), isSmall: false)
        #expect(coordinator.pace.pause == TransactionPace.most)
    }
}

/// A server that was restored to an older point, and written to until its WAL ended behind the position.
@Suite struct HistoryCheckTests {
    private let stored: StoredPosition = {
        var stored = StoredPosition(
            systemID: "7", timeline: 2, slot: "sluice_t", epoch: 1, lsn: LSN(1000), commitLSN: LSN(700), commitTime: 55,
            options: "a", state: .streaming)
        stored.mark = PublicationMark(newest: 1)
        return stored
    }()

    private func head(_ lsn: UInt64, _ time: Int64 = 55) -> TransactionHead {
        TransactionHead(xid: 9, commitLSN: LSN(lsn), commitTime: time)
    }

    @Test func theLastTransactionComesAgain() throws {
        #expect(HistoryCheck.start(stored) == LSN(700))
        var check = try #require(HistoryCheck(stored, confirmed: LSN(700)))
        #expect(check.began(head(400, 3)) == .fits, "the slot was further behind when replication started")
        #expect(check.sent(upTo: LSN(999)) == .fits)
        #expect(check.began(head(700)) == .fits)
        var other = check
        #expect(check.sent(upTo: LSN(1000)) == .proven)
        #expect(other.began(head(1000, 80)) == .proven)
    }

    @Test func anotherInItsPlaceIsAnotherHistory() throws {
        let check = try #require(HistoryCheck(stored, confirmed: LSN(100)))
        for wrong in [head(700, 56), head(708), head(900), head(1000), head(2000)] {
            var check = check
            #expect(check.began(wrong) == .differs, "\(wrong)")
        }
        #expect(check.sent(upTo: LSN(1000)) == .differs, "nothing came")
        var known = check
        #expect(known.began(head(700)) == .fits && known.changed() == .fits)
        #expect(known.began(head(800)) == .fits && known.changed() == .differs, "nothing was there")
        #expect(known.began(head(1000)) == .proven && known.changed() == .fits)
    }

    @Test func aSlotThatIsPastTheTransactionSendsNothing() throws {
        var check = try #require(HistoryCheck(stored, confirmed: LSN(701)))
        #expect(check.sent(upTo: LSN(1000)) == .proven)
        #expect(check.began(head(800)) == .fits, "14 sends the ends of transactions without a change")
        #expect(check.changed() == .differs)
        #expect(HistoryCheck(stored, confirmed: LSN(1000)) == nil)
    }

    @Test func ofATransactionThatIsHalfSentTheRestComes() throws {
        var split = stored
        split.ordinal = 4
        split.lsn = LSN(500)
        #expect(HistoryCheck.start(split) == LSN(500))
        var check = try #require(HistoryCheck(split, confirmed: LSN(500)))
        var other = check
        #expect(check.began(head(700)) == .fits && check.began(head(1200, 60)) == .proven)
        #expect(other.began(head(600)) == .fits, "it would be passed over, were it ours")
        #expect(other.began(head(712)) == .differs)
    }

    @Test func beforeTheFirstTransactionNoneMayCome() throws {
        var none = stored
        none.commitLSN = LSN(0)
        none.messages = LSN(100)
        #expect(HistoryCheck.start(none) == LSN(0), "where the slot stands")
        var check = try #require(HistoryCheck(none, confirmed: LSN(100)))
        #expect(check.sent(upTo: LSN(999)) == .fits && check.sent(upTo: LSN(1000)) == .proven)
        #expect(check.began(head(1000)) == .proven)
        #expect(check.began(head(300)) == .fits && check.changed() == .differs)
        #expect(HistoryCheck(none, confirmed: LSN(1000)) == nil)
    }

    @Test func whatIsFromBeforeAGapIsInKafka() throws {
        var begun = stored
        begun.commitLSN = LSN(0)
        begun.messages = LSN(500)
        begun.gaps = [.init(kind: "table-unpublished", from: LSN(500), to: LSN(600), epoch: 2, acceptedAt: 1)]
        var check = try #require(HistoryCheck(begun, confirmed: LSN(100)))
        #expect(check.began(head(300)) == .fits && check.changed() == .fits)
        #expect(check.began(head(700)) == .fits && check.changed() == .differs)
        begun.gaps[0].to = LSN(0)
        #expect(HistoryCheck(begun, confirmed: LSN(100)) == nil, "where it ended is not known yet")
        #expect(HistoryCheck.start(begun) == LSN(1000))
    }

    @Test func messagesThatKafkaHasNotAreAnotherHistory() throws {
        #expect(HistoryCheck(stored, confirmed: LSN(700))?.message(endingAt: LSN(800)) == .fits, "an older sluice's")
        var known = stored
        known.messages = LSN(750)
        let check = try #require(HistoryCheck(known, confirmed: LSN(700)))
        #expect(check.message(endingAt: LSN(750)) == .fits && check.message(endingAt: LSN(751)) == .differs)
        #expect(check.message(endingAt: LSN(1000)) == .differs && check.message(endingAt: LSN(1001)) == .fits)
    }

    @Test func whatAnOlderSluiceWroteIsNotCompared() {
        var none = stored
        none.commitLSN = LSN(0)
        #expect(HistoryCheck(none, confirmed: LSN(1)) == nil && HistoryCheck.start(none) == LSN(1000))
        var old = stored
        old.mark = nil
        #expect(HistoryCheck(old, confirmed: LSN(1)) == nil)
    }
}
