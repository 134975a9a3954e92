import ChangeData
import ObjectStorage
import Postgres
import Testing

@testable import Pipeline

private func at(_ lsn: UInt64, _ ordinal: UInt64 = 1, epoch: UInt32 = 1, time: Int64 = 0) -> RecordPosition {
    RecordPosition(
        position: EventPosition(epoch: epoch, commitLSN: LSN(lsn), ordinal: ordinal), commitTime: time)
}

private func mark(_ lsn: UInt64, _ ordinal: UInt64 = 1, epoch: UInt32 = 1, rank: UInt8 = 0) -> RecordMark {
    RecordMark(at(lsn, ordinal, epoch: epoch).position, rank: rank)
}

private func object(
    start: Int64 = 10, end: Int64 = 19, first: RecordPosition = at(100), last: RecordPosition = at(200),
    sha256: String = "aa"
) -> StoredObject {
    StoredObject(
        start: start, end: end, records: 9, tombstones: 1, dropped: 0, firstPosition: first, lastPosition: last,
        mark: mark(200), watermark: 7, sha256: sha256)
}

@Suite struct TopicSelectionTests {
    private func selection(
        _ tables: [(String, String)], template: String = "{name}.{schema}.{table}"
    ) throws -> TopicSelection {
        try TopicSelection(
            name: "tesouro", template: template, tables: tables.map { TablePattern(schema: $0, table: $1) })
    }

    @Test func literalTablesAreNamesAndPatternsAreExpressions() throws {
        let selection = try selection([("public", "a_gold"), ("public", "*_gold"), ("x", "t?"), ("my.schema", "plain")])
        #expect(
            selection.subscriptions == [
                "tesouro.public.a_gold", "^tesouro\\.public\\.[A-Za-z0-9._-]*_gold$", "^tesouro\\.x\\.t[A-Za-z0-9._-]$",
                "tesouro.my.schema.plain",
            ])
        #expect(selection.accepts("tesouro.public.b_gold") && selection.accepts("tesouro.my.schema.plain"))
        #expect(!selection.accepts("tesouro.public.b") && !selection.accepts("other.public.b_gold"))
        #expect(selection.accepts("tesouro.x.t1") && !selection.accepts("tesouro.x.t12"))
    }

    @Test func namesAreMadeOfWhatKafkaAllows() throws {
        let selection = try selection([("public", "preço"), ("public", "a b*")])
        #expect(selection.subscriptions[0] == "tesouro.public.pre_o")
        #expect(selection.accepts("tesouro.public.a_bc"))
    }

    @Test func theAgentsOwnTopicsAreNeverTables() throws {
        let selection = try selection([("*", "*")], template: "{table}")
        #expect(selection.accepts("gold"))
        #expect(!selection.accepts("sluice.tesouro.progress") && !selection.accepts("__consumer_offsets"))
        #expect(!selection.accepts("tesouro.message") && selection.accepts("dead"))
        let other = try TopicSelection(
            name: "tesouro", template: "{table}", tables: [TablePattern(schema: "*", table: "*")], deadLetters: "dead")
        #expect(!other.accepts("dead") && other.accepts("gold"))
    }
}

@Suite struct ObjectNameTests {
    @Test func hoursAreUTCAndFloored() {
        #expect(SourceHour(ofMicroseconds: 0).path == "year=1970/month=01/day=01/hour=00")
        #expect(SourceHour(ofMicroseconds: -1).path == "year=1969/month=12/day=31/hour=23")
        #expect(SourceHour(ofMicroseconds: 1_709_210_096_123_456).path == "year=2024/month=02/day=29/hour=12")
        #expect(
            SourceHour(ofMicroseconds: 3_599_999_999) == SourceHour(0)
                && SourceHour(ofMicroseconds: 3_600_000_000) == SourceHour(1))
    }

    @Test func keysAreConnects() {
        let name = ObjectName(topic: "t.public.x", partition: 3, start: 42)
        let key = name.key(hour: SourceHour(0), .gzip)
        #expect(key == "t.public.x/year=1970/month=01/day=01/hour=00/t.public.x+3+0000000042.json.gz")
        #expect(ObjectName(key: key, topic: "t.public.x") == name)
        let far = ObjectName(topic: "t", partition: 0, start: 12_345_678_901)
        #expect(ObjectName(key: far.key(hour: SourceHour(0), .none), topic: "t") == far)
    }

    @Test(arguments: [
        "t/_sluice.json", "t/h/t+0+0000000042.txt", "t/h/t+0.json", "t/h/t+x+0000000042.json",
        "t/h/u+0+0000000042.json",
        "t/h/t+0+42.json", "t/h/t+-1+0000000042.json", "", "t",
    ]) func otherKeysAreNotRead(_ key: String) {
        #expect(ObjectName(key: key, topic: "t") == nil)
    }

    @Test func theLastObjectIsTheOneWithTheHighestOffset() {
        var last = LastObjects(topic: "t")
        // The clock went back: the higher offset lies in the older hour, which is listed first.
        for key in [
            "t/year=2024/month=01/day=01/hour=09/t+0+0000000200.json", "t/_sluice.json",
            "t/year=2024/month=01/day=01/hour=10/t+0+0000000100.json",
            "t/year=2024/month=01/day=01/hour=10/t+1+0000000300.json",
        ] { last.see(key) }
        #expect(last.found[0]?.start == 200)
        #expect(last.found[0]?.key == "t/year=2024/month=01/day=01/hour=09/t+0+0000000200.json")
        #expect(last.found[1]?.start == 300 && last.found.count == 2)
    }
}

@Suite struct StoredObjectTests {
    @Test func metadataComesBack() throws {
        var object = object(first: at(0x98AC920, 3, time: 1_795_633_610_160_929))
        (object.end, object.dropped) = (21, 2)
        object.gap = "1-9"
        #expect(object.firstPosition.text == "1/0/98AC920/3/1795633610160929")
        #expect(StoredObject(metadata: Dictionary(uniqueKeysWithValues: object.metadata)) == object)
        object.mark = nil
        object.watermark = nil
        #expect(StoredObject(metadata: Dictionary(uniqueKeysWithValues: object.metadata)) == object)
        #expect(StoredObject(metadata: [:]) == nil)
        var metadata = Dictionary(uniqueKeysWithValues: object.metadata)
        metadata["sluice-end"] = "\(Int64.max)"
        #expect(StoredObject(metadata: metadata) == nil, "there is no offset behind it")
        // Sums are made of what they say.
        for (name, value) in [
            ("records", "-1"), ("records", "\(Int.max)"), ("tombstones", "\(Int.max)"), ("dropped", "-1"),
        ] {
            var wrong = Dictionary(uniqueKeysWithValues: object.metadata)
            wrong["sluice-\(name)"] = value
            #expect(StoredObject(metadata: wrong) == nil, "\(name) \(value)")
        }
    }

    @Test func notesComeBack() {
        let note = OffsetNote(
            last: .init(key: "t/h/t+0+0000000010.json", end: 19, lastPosition: at(200)), mark: mark(200, rank: 2),
            watermark: -5, pin: "k3", store: "0123")
        #expect(OffsetNote(json: note.json) == note)
        let empty = OffsetNote(last: nil, pin: "k3", store: "0123")
        #expect(OffsetNote(json: empty.json) == empty)
        let given = OffsetNote(last: nil, gap: 3...7, pin: "k3", store: "0123")
        #expect(OffsetNote(json: given.json) == given)
        #expect(OffsetNote(json: given.json.replacing("[3,7]", with: "[7,3]")) == empty)
        let late = OffsetNote(last: nil, unsealed: HourSet([SourceHour(3), SourceHour(-9)]), pin: "k3", store: "0123")
        #expect(OffsetNote(json: late.json) == late && late.json.contains(#""unsealed":[-9,-9,3,3]"#))
        #expect(OffsetNote(json: late.json.replacing("[-9,", with: "[9,")) == empty)
        for text in [
            "", "{}", #"{"v":2,"pin":"a","store":"b"}"#, #"{"v":1,"pin":"a","store":"b","object":"x"}"#,
            note.json.replacing(#""end":19"#, with: #""end":9223372036854775807"#),
        ] {
            #expect(OffsetNote(json: text) == nil)
        }
    }

    @Test func aPinRefusesAnotherConfiguration() throws {
        let pin = TopicPin(compression: "gzip", id: "k3")
        #expect(TopicPin(json: Array(pin.json.utf8)) == pin)
        #expect(pin.refusal(topic: "t", compression: .gzip, store: "s3://lake") == nil)
        let refusal = try #require(pin.refusal(topic: "t", compression: .none, store: "s3://lake"))
        #expect(refusal.code == .configuration && refusal.hints[0] == "set s3.compression: gzip")
        #expect(
            TopicPin(layout: "x", compression: "gzip", id: "k").refusal(topic: "t", compression: .gzip, store: "")
                != nil)
        #expect(TopicPin(json: Array("{}".utf8)) == nil)
    }
}

@Suite struct DeduplicatorTests {
    @Test func positionsGrowStrictly() {
        var dedupe = Deduplicator()
        #expect(dedupe.take(mark(100, 1), commitTime: 5) == .write)
        #expect(dedupe.take(mark(100, 2), commitTime: 5) == .write)
        #expect(dedupe.take(mark(100, 2), commitTime: 5) == .drop)
        #expect(dedupe.take(mark(100, 1), commitTime: 5) == .drop)
        #expect(dedupe.take(mark(90, 9), commitTime: 4) == .drop)
        #expect(dedupe.take(mark(101, 1), commitTime: 4) == .write)
        #expect(dedupe.mark == mark(101, 1))
        #expect(dedupe.watermark == 5)
    }

    @Test func theRecordsOfOneChangeAreTold() {
        var dedupe = Deduplicator()
        for rank: UInt8 in 0...2 { #expect(dedupe.take(mark(100, rank: rank), commitTime: 5) == .write) }
        for rank: UInt8 in 0...2 { #expect(dedupe.take(mark(100, rank: rank), commitTime: 5) == .drop) }
    }

    @Test func anOlderEpochIsAGhostAndANewerOneIsNew() {
        var dedupe = Deduplicator()
        #expect(dedupe.take(mark(500, epoch: 1), commitTime: 5) == .write)
        #expect(dedupe.take(mark(10, epoch: 2), commitTime: 9) == .write)
        #expect(dedupe.take(mark(501, epoch: 1), commitTime: 6) == .drop)
    }

    @Test func whatIsNewerByTimeAloneIsNotDropped() {
        var dedupe = Deduplicator(mark: mark(500), watermark: 5)
        #expect(dedupe.take(mark(10), commitTime: 6) == .contradiction)
        #expect(dedupe.mark == mark(500))
    }
}

@Suite struct SegmentPolicyTests {
    private let policy = SegmentPolicy(bytes: 1000, age: 60)

    @Test func anObjectEndsAtItsBounds() {
        func ended(_ stored: Int, at now: Int64, limit: Int = .max, waiting: Bool = false) -> SegmentPolicy.Reason? {
            policy.ended(stored: stored, limit: limit, openedAt: 100, now: now, isWaiting: waiting)
        }
        #expect(ended(999, at: 159) == nil)
        #expect(ended(1000, at: 100) == .bytes)
        #expect(ended(1, at: 160) == .age)
        // One that waits already would not be there any sooner.
        #expect(ended(1, at: 160, waiting: true) == nil)
        #expect(ended(500, at: 100, limit: 400) == .pressure)
    }

    @Test func anotherHourInEitherDirectionAndAnotherEpochAreOtherObjects() {
        func refusal(hour: Int64, epoch: UInt32) -> SegmentPolicy.Reason? {
            let at = RecordPosition(
                position: EventPosition(epoch: epoch, commitLSN: LSN(1), ordinal: 1), commitTime: hour * 3_600_000_000)
            return policy.refusal(of: at, into: SourceHour(5), of: 2)
        }
        #expect(refusal(hour: 5, epoch: 2) == nil)
        #expect(refusal(hour: 6, epoch: 2) == .hour && refusal(hour: 4, epoch: 2) == .hour)
        #expect(refusal(hour: 5, epoch: 3) == .epoch)
    }

    @Test func aFullDiskMakesObjectsSmallAndRoomMakesThemGrow() {
        var limit = SegmentLimit()
        limit.succeeded(with: 1 << 30)
        #expect(limit.bytes == .max)
        limit.failed(at: 1 << 20)
        #expect(limit.bytes == 512 << 10)
        limit.failed(at: 10)
        #expect(limit.bytes == SegmentLimit.least)
        limit.succeeded(with: 1)
        #expect(limit.bytes == SegmentLimit.least)
        for _ in 0..<40 { limit.succeeded(with: limit.bytes) }
        #expect(limit.bytes == .max)
    }

    @Test func theRatioIsOneUntilItIsKnown() {
        var ratio = PackingRatio()
        #expect(ratio.stored(of: 1000) == 1000)
        ratio.saw(raw: 1000, stored: 100)
        #expect(ratio.stored(of: 1000) == 100)
        ratio.saw(raw: 10, stored: 100)
        #expect(ratio.stored(of: 1000) <= 1000)
    }
}

@Suite struct PressurePolicyTests {
    private let policy = PressurePolicy(memory: 1000, spool: 8000, files: 10)

    private func usage(_ change: (inout PressurePolicy.Usage) -> Void) -> PressurePolicy.Usage {
        var usage = PressurePolicy.Usage()
        change(&usage)
        return usage
    }

    @Test func belowTheBoundsNothingIsDone() {
        #expect(
            policy.judge(
                usage {
                    $0.openSpool = 6000; $0.openMemory = 900
                }, isPaused: false) == .init())
    }

    @Test func aFullDiskEndsTheLargestUnlessMuchIsOnItsWay() {
        #expect(policy.judge(usage { $0.openSpool = 7000 }, isPaused: false) == .init(endsLargest: true))
        #expect(
            policy.judge(
                usage {
                    $0.openSpool = 4000; $0.waitingSpool = 3400
                }, isPaused: false) == .init())
        #expect(
            policy.judge(
                usage {
                    $0.openSpool = 4000; $0.waitingSpool = 4000
                }, isPaused: false) == .init(pauses: true))
    }

    /// What is judged has been written: the bound must hold after the turn that comes before the next look.
    @Test func roomForOneTurnIsKept() {
        #expect(!policy.judge(usage { $0.waitingSpool = 7496 }, isPaused: false).pauses)
        #expect(policy.judge(usage { $0.waitingSpool = 7500 }, isPaused: false).pauses)
        let large = PressurePolicy(memory: 1 << 20, spool: 1 << 30, files: 10)
        let most = (1 << 30) - large.turn
        #expect(large.turn == 4 << 20 && policy.turn == 500)
        #expect(!large.judge(usage { $0.waitingSpool = most - 4 }, isPaused: false).pauses)
        #expect(large.judge(usage { $0.waitingSpool = most }, isPaused: false).pauses)
    }

    /// Nothing but what is put makes room: so what is held back by objects that still grow has to end some of them.
    @Test(arguments: 0..<200) func noPauseLastsWhenObjectsCanBePut(_ seed: UInt64) {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % max(1, bound)
        }
        let policy = PressurePolicy(memory: 1000, spool: 8000, files: 10)
        var open = (0..<(1 + random(12))).map { _ in
            (memory: random(400), spool: random(2) == 0 ? 0 : 1 + random(2500))
        }
        var waiting = (0..<random(4)).map { _ in (memory: 0, spool: random(2500)) }
        var isPaused = true
        for _ in 0..<200 where isPaused {
            func judge() -> PressurePolicy.Decision {
                policy.judge(
                    usage { usage in
                        usage.openMemory = open.reduce(0) { $0 + $1.memory }
                        usage.openSpool = open.reduce(0) { $0 + $1.spool }
                        usage.waitingMemory = waiting.reduce(0) { $0 + $1.memory }
                        usage.waitingSpool = waiting.reduce(0) { $0 + $1.spool }
                        usage.files = (open + waiting).count { $0.spool > 0 }
                    }, isPaused: isPaused)
            }
            // As `SinkSession.press`.
            var decision = judge()
            while decision.spillsLargest, let most = open.indices.max(by: { open[$0].memory < open[$1].memory }),
                open[most].memory > 0
            {
                open[most] = (0, open[most].spool + open[most].memory)
                decision = judge()
            }
            if decision.endsLargest, let most = open.indices.max(by: { open[$0].spool < open[$1].spool }) {
                waiting.append(open.remove(at: most))
            }
            isPaused = decision.pauses
            if !waiting.isEmpty { waiting.removeFirst() }
        }
        #expect(!isPaused, "open \(open), waiting \(waiting)")
    }

    /// It follows with the next record; while nothing is read it does not.
    @Test func whatIsInMemoryMayComeToDisk() {
        func judge(_ memory: Int, isPaused: Bool = false) -> PressurePolicy.Decision {
            policy.judge(
                usage {
                    $0.waitingSpool = 7000; $0.openMemory = memory
                }, isPaused: isPaused)
        }
        #expect(!judge(499).pauses && judge(500).pauses)
        #expect(
            !policy.judge(
                usage {
                    $0.waitingSpool = 5600; $0.openMemory = 700
                }, isPaused: true
            ).pauses)
        let ends = policy.judge(
            usage {
                $0.openSpool = 6500; $0.openMemory = 500
            }, isPaused: false)
        #expect(ends == .init(endsLargest: true))
    }

    @Test func aPauseEndsWhenAQuarterIsFree() {
        #expect(policy.judge(usage { $0.waitingSpool = 6000 }, isPaused: true).pauses)
        #expect(!policy.judge(usage { $0.waitingSpool = 6000 }, isPaused: false).pauses)
        #expect(!policy.judge(usage { $0.waitingSpool = 5600 }, isPaused: true).pauses)
    }

    @Test func fullMemoryGoesToDiskIfItIsOfOpenObjects() {
        #expect(policy.judge(usage { $0.openMemory = 1000 }, isPaused: false) == .init(spillsLargest: true))
        #expect(policy.judge(usage { $0.waitingMemory = 1000 }, isPaused: false) == .init(pauses: true))
        #expect(
            policy.judge(
                usage {
                    $0.openMemory = 1000; $0.openSpool = 1; $0.files = 10
                }, isPaused: false)
                == .init(pauses: true, endsLargest: true))
    }
}

@Suite struct ClaimDecisionTests {
    private let claim = ClaimDecision.Claim(start: 10, firstPosition: at(100), end: 19, sha256: "aa")

    @Test func ourOwnPutThatArrivedIsOurs() {
        #expect(ClaimDecision.judge(claim, found: object()) == .ours)
    }

    @Test func anotherRangeFromTheSameRecordIsFollowed() {
        for end: Int64 in [12, 40] {
            let other = object(end: end, sha256: "bb")
            #expect(ClaimDecision.judge(claim, found: other) == .follow(other))
        }
        let open = ClaimDecision.Claim(start: 10, firstPosition: at(100))
        #expect(ClaimDecision.judge(open, found: object()) == .follow(object()))
    }

    @Test func whatIsNotTheSameIsAConflict() {
        func isConflict(_ found: StoredObject?) -> Bool {
            if case .conflict = ClaimDecision.judge(claim, found: found) { true } else { false }
        }
        #expect(isConflict(nil))
        #expect(isConflict(object(start: 9)))
        #expect(isConflict(object(first: at(101))))
        #expect(isConflict(object(sha256: "bb")))
    }
}

@Suite struct ResumeDecisionTests {
    private let key = "t/h/t+0+0000000010.json"

    private func facts(_ low: Int64, _ high: Int64, _ change: (inout ResumeDecision.Facts) -> Void = { _ in })
        -> ResumeDecision.Facts
    {
        var facts = ResumeDecision.Facts(low: low, high: high)
        change(&facts)
        return facts
    }

    private func note(_ facts: inout ResumeDecision.Facts, committed: Int64) {
        facts.note = OffsetNote(
            last: .init(key: key, end: 19, lastPosition: at(200)), mark: mark(200), watermark: 7, pin: "p", store: "s")
        facts.committed = committed
        facts.samePin = true
        facts.sameStore = true
    }

    private func resume(_ facts: ResumeDecision.Facts) -> ResumeDecision.Resume? {
        if case .resume(let resume) = ResumeDecision.judge(facts) { resume } else { nil }
    }

    @Test func aNewPartitionBeginsAtTheLogsBeginning() {
        #expect(resume(facts(0, 0)) == .init(offset: 0))
        #expect(resume(facts(0, 50)) == .init(offset: 0))
    }

    @Test func recordsThatWereDeletedUnseenAreAGap() {
        #expect(ResumeDecision.judge(facts(5, 50)) == .refuse(.lost(0...4)))
    }

    @Test func theGroupsOffsetAloneIsNotBelieved() {
        #expect(resume(facts(0, 50) { $0.committed = 30 })?.offset == 0)
    }

    /// Exactly what is gone, as the refusal's command says: any other offset may be what a stranger in the group has read, or was said of
    /// a log that retention has cut further since.
    @Test func anOffsetSetByHandToTheLogsStartAcceptsALoss() throws {
        let accepted = try #require(resume(facts(5, 50) { $0.committed = 5 }))
        #expect(accepted.offset == 5 && accepted.gap == 0...4)
        for committed: Int64 in [3, 4, 6, 7, 50, 51] {
            #expect(ResumeDecision.judge(facts(5, 50) { $0.committed = committed }) == .refuse(.lost(0...4)))
        }
        // All of it.
        #expect(resume(facts(50, 50) { $0.committed = 50 })?.gap == 0...49)
    }

    /// It is told with the offset, until the next object has it on record.
    @Test func aLossThatWasAcceptedIsRememberedOverARestart() throws {
        var found = facts(25, 50) { facts in
            note(&facts, committed: 25)
            facts.note?.gap = 20...24
            facts.key = key
            facts.object = object()
        }
        #expect(resume(found)?.offset == 25 && resume(found)?.gap == 20...24)
        // Retention has gone on since: that much was accepted by nobody.
        found.low = 28
        #expect(ResumeDecision.judge(found) == .refuse(.lost(25...27)))
        // The next object was put, and the group has not heard of it.
        found.key = "t/h/t+0+0000000025.json"
        found.object = object(start: 25, end: 29)
        #expect(resume(found)?.offset == 29 && resume(found)?.seen == 30 && resume(found)?.gap == nil)
        // Before the first object; and another log under the same name.
        var first = facts(5, 9) { facts in
            note(&facts, committed: 5)
            facts.note = OffsetNote(last: nil, gap: 0...4, pin: "p", store: "s")
        }
        #expect(resume(first)?.offset == 5 && resume(first)?.gap == 0...4)
        first.low = 0
        #expect(resume(first) == .init(offset: 0, seen: 0))
    }

    @Test func afterAnObjectItsLastRecordIsLookedAt() throws {
        let found = facts(0, 50) { facts in
            facts.key = key
            facts.object = object()
        }
        let after = try #require(self.resume(found))
        #expect(after.offset == 19 && after.continuity == at(200))
        #expect(after.deduplicator == Deduplicator(mark: mark(200), watermark: 7))
        // The log begins right behind it: nothing to look at, and nothing lost.
        let cut = facts(20, 50) { facts in
            facts.key = key
            facts.object = object()
        }
        #expect(self.resume(cut)?.offset == 20 && self.resume(cut)?.continuity == nil)
    }

    @Test func offsetsBehindAnObjectThatWereSeenToBeEmptyAreNoGap() {
        let seen = facts(21, 21) { facts in
            note(&facts, committed: 21)
            facts.key = key
            facts.object = object()
        }
        #expect(resume(seen)?.offset == 21)
        let unseen = facts(22, 50) { facts in
            note(&facts, committed: 21)
            facts.key = key
            facts.object = object()
        }
        #expect(ResumeDecision.judge(unseen) == .refuse(.lost(21...21)))
    }

    @Test func aLogThatEndsBelowItsObjectsIsAnotherOne() {
        let short = facts(0, 12) { facts in
            facts.key = key
            facts.object = object()
        }
        #expect(ResumeDecision.judge(short) == .refuse(.shorter(end: 12, stored: 20)))
    }

    @Test func anObjectThatIsGoneIsBelievedOfThisStoreAlone() throws {
        var gone = facts(0, 50) { note(&$0, committed: 20) }
        let trusted = try #require(resume(gone))
        #expect(trusted.isTrusted && trusted.offset == 19 && trusted.deduplicator.mark == mark(200))
        // The pin is gone too, and the log still has everything: it is written again.
        gone.samePin = false
        #expect(resume(gone)?.offset == 0)
        // The log has nothing of it any more.
        gone.low = 20
        #expect(resume(gone)?.offset == 20)
        gone.sameStore = false
        #expect(ResumeDecision.judge(gone) == .refuse(.lost(0...19)))
    }

    @Test func aPartitionWithoutObjectsWhoseLogWasSeenToBeEmptyHasNoGap() {
        let empty = facts(3, 9) { facts in
            facts.committed = 3
            facts.note = OffsetNote(last: nil, pin: "p", store: "s")
            facts.samePin = true
            facts.sameStore = true
        }
        #expect(resume(empty) == .init(offset: 3, seen: 3))
        // The same name, and another log: what is in it was never read.
        let anew = facts(0, 9) { facts in
            facts.committed = 3
            facts.note = OffsetNote(last: nil, pin: "p", store: "s")
            facts.samePin = true
            facts.sameStore = true
        }
        #expect(resume(anew) == .init(offset: 0, seen: 0))
    }
}
