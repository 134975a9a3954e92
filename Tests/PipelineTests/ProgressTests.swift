import ChangeData
import Dates
import Kafka
import Testing

@testable import Pipeline

@Suite struct ProgressRecordTests {
    private let position = StoredPosition(
        systemID: "7712204971176368436", timeline: 2, slot: "sluice_t", epoch: 3, lsn: LSN(0x19C_CF80),
        commitLSN: LSN(0x19C_CF48), ordinal: 17, splitPart: 2, commitTime: 1_795_633_610_160_929,
        options: #"publication="odd";proto=1"#, state: .streaming,
        gaps: [.init(kind: "slot-missing", from: LSN(1), to: LSN(2), epoch: 3, acceptedAt: 1_700_000_000_000_000)])

    @Test func theFieldsStandAsTheDesignHasThem() {
        var plain = position
        plain.gaps = []
        plain.splitPart = 0
        plain.options = "a"
        #expect(
            ProgressRecord.encode(plain) == """
                {"v":1,"system_id":"7712204971176368436","timeline":2,"slot":"sluice_t","epoch":3,"lsn":"0/19CCF80",\
                "commit_lsn":"0/19CCF48","ordinal":17,"commit_ts":"2026-11-25T19:06:50.160929Z","options":"a",\
                "state":"streaming"}
                """)
    }

    @Test func whatIsWrittenIsRead() {
        #expect(ProgressRecord.decode(Array(ProgressRecord.encode(position).utf8)) == position)
        var creating = position
        creating.state = .creating
        #expect(ProgressRecord.decode(Array(ProgressRecord.encode(creating).utf8)) == creating)
        var full = position
        full.clock = 1_795_633_610_160_930
        full.publication = UInt32.max
        full.mark = PublicationMark(newest: UInt32.max, restrictions: 0x811C_9DC5)
        full.cluster = "4L6g3nShT-eMCtK--X86sw"
        full.messages = LSN(0)
        full.format = FormatPin(EventFormat(name: "t", database: "d", version: "1", epoch: 1, numeric: .number))
        full.partitions.usual = 3
        full.partitions.others = ["a\"b": 7]
        full.marks = [.init(lsn: LSN(5), time: 1_700_000_000_000_000)]
        full.replay = ReplayRange(from: LSN(1), to: LSN(9))
        #expect(ProgressRecord.decode(Array(ProgressRecord.encode(full).utf8)) == full)
        full.mark?.altered = UInt32.max
        #expect(ProgressRecord.decode(Array(ProgressRecord.encode(full).utf8)) == full)
    }

    @Test func anotherVersionOrACutRecordIsNotRead() {
        let whole = ProgressRecord.encode(position)
        #expect(ProgressRecord.decode(Array(whole.replacing("\"v\":1", with: "\"v\":2").utf8)) == nil)
        for end in whole.utf8.indices where end < whole.utf8.endIndex {
            #expect(ProgressRecord.decode(Array(whole.utf8[..<end])) == nil)
        }
    }

    @Test(
        arguments: [
            0, -1, 1_795_633_610_160_929, 951_827_696_123_456, -62_135_596_800_000_000, 253_402_300_799_999_999,
        ] as [Int64])
    func timesComeBack(_ time: Int64) {
        #expect(ISOTime.microseconds(ISOTime.text(microseconds: time)) == time)
    }

    @Test func timesAreSpelledAsISO() {
        #expect(ISOTime.text(microseconds: 951_827_696_123_456) == "2000-02-29T12:34:56.123456Z")
        #expect(ISOTime.text(microseconds: -1) == "1969-12-31T23:59:59.999999Z")
        #expect(ISOTime.microseconds("2024-02-29T12:34:56Z") == 1_709_210_096_000_000)
        for wrong in ["", "2024-02-29", "2024-13-01T00:00:00Z", "2024-02-29T12:34:56", "2024-02-29T12:34:56.Z"] {
            #expect(ISOTime.microseconds(wrong) == nil, "\(wrong)")
        }
    }
}

@Suite struct EpochTests {
    private func epoch(_ lsn: UInt64, _ gaps: (kind: String, from: UInt64, to: UInt64, epoch: UInt32)...) -> UInt32? {
        var stored = StoredPosition(
            systemID: "7", timeline: 1, slot: "sluice_t", epoch: gaps.last?.epoch ?? 1, lsn: LSN(9000), options: "a",
            state: .streaming)
        stored.gaps = gaps.map {
            .init(kind: $0.kind, from: LSN($0.from), to: LSN($0.to), epoch: $0.epoch, acceptedAt: 1)
        }
        let position = EventPosition(epoch: 0, commitLSN: LSN(lsn), ordinal: 1)
        return stored.epochs.last { !position.isBehind($0.begin) }?.number
    }

    @Test func theLossesOnRecordTellThem() {
        #expect(epoch(100) == nil, "that of the position")
        // The stream went on where it was.
        #expect(epoch(499, ("table-unpublished", 500, 600, 2)) == 1)
        #expect(epoch(500, ("table-unpublished", 500, 600, 2)) == 2)
        #expect(epoch(400, ("operation-unpublished", 500, 0, 2)) == 1, "the loss goes on")
        // A slot that was made again, and a server that went back.
        #expect(epoch(450, ("slot-missing", 300, 400, 2), ("table-missing", 700, 700, 3)) == 2)
        #expect(epoch(450, ("slot-missing", 300, 400, 2), ("server-behind", 800, 420, 3)) == 3)
        #expect(epoch(410, ("slot-missing", 300, 400, 2), ("server-behind", 800, 420, 3)) == 2)
        // Where nothing is of before.
        #expect(epoch(5, ("other-cluster", 500, 100, 2)) == 2)
        #expect(epoch(5, ("no-position", 0, 100, 1_795_000_000)) == 1_795_000_000)
    }
}

@Suite struct FormatPinTests {
    private func format(
        _ numeric: EventFormat.Numeric = .string, _ envelope: EventFormat.Envelope = .debezium
    ) -> EventFormat {
        EventFormat(name: "t", database: "d", version: "1", epoch: 1, envelope: envelope, numeric: numeric)
    }

    @Test func anotherSpellingIsRefusedWithWhatWasBefore() throws {
        var stored = StoredPosition(
            systemID: "7", timeline: 1, slot: "sluice_t", epoch: 1, lsn: LSN(1), options: "a", state: .streaming)
        #expect(stored.refusal(of: format(.number)) == nil, "an older sluice wrote the record")
        stored.format = FormatPin(format())
        #expect(stored.format?.text == "envelope=debezium numeric=string timestamps=iso json=text")
        #expect(stored.refusal(of: format()) == nil)
        let exit = try #require(stored.refusal(of: format(.number, .flat)))
        #expect(exit.code == .configuration && exit.details.count == 2)
        #expect(exit.details[1] == "events.numeric is number, the topics were written with string")
        #expect(exit.hints.first == "set events.envelope: debezium, events.numeric: string")
        #expect(exit.hints.contains { $0.hasPrefix("sluice init --accept-gap") })
    }

    @Test func whatANewerSluicePinsIsPassedOver() {
        #expect(FormatPin("numeric=string colour=red")?.changes(to: FormatPin(format())).isEmpty == true)
        #expect(FormatPin("numeric") == nil)
    }
}

@Suite struct MissingPositionTests {
    @Test func itIsLookedForAWhileAndLongerByOneThatHasReadIt() {
        var missing = MissingPosition()
        func isGone(_ now: Int, _ hasStreamed: Bool) -> Bool {
            missing.isGone(now: .seconds(now), hasStreamed: hasStreamed)
        }
        #expect(isGone(0, false) == false)
        #expect(isGone(2, false) == false)
        #expect(isGone(3, false) == true)
        #expect(isGone(29, true) == false)
        #expect(isGone(30, true) == true)
        missing.found()
        #expect(isGone(31, false) == false)
    }
}

@Suite struct SplitMarkTests {
    private func part(_ commitLSN: UInt64, after stored: StoredPosition) -> Int {
        var position = ByteBuffer(capacity: 64)
        RecordPosition(
            position: EventPosition(epoch: 1, commitLSN: LSN(commitLSN), ordinal: 9), commitTime: 1_795_633_610_160_929
        ).write(into: &position)
        return SplitMark.part(of: position.span, after: stored)
    }

    @Test func theRestOfASplitTransactionIsMarkedWhateverFollowsItInTheBatch() {
        let stored = StoredPosition(
            systemID: "1", timeline: 1, slot: "s", epoch: 1, lsn: LSN(0x100), commitLSN: LSN(0x200), ordinal: 5,
            splitPart: 3, options: "", state: .streaming)
        #expect(part(0x200, after: stored) == 3)
        #expect(part(0x300, after: stored) == 0)
        var whole = stored
        whole.ordinal = 0
        whole.splitPart = 0
        #expect(part(0x200, after: whole) == 0)
    }
}

@Suite struct ProducerRecoveryTests {
    @Test func theClassesOfTheDesign() {
        var recovery = ProducerRecovery()
        func action(
            _ disposition: KafkaError.Disposition, retained: Bool = true, inDoubt: Bool = false
        ) -> ProducerRecovery.Action {
            recovery.action(
                for: disposition, .other, isInDoubt: inDoubt, isRetained: retained, isExpired: false, now: 0)
        }
        #expect(action(.abortable) == .abortAndResend)
        #expect(action(.abortable, retained: false) == .restartSession)
        #expect(action(.retriable) == .abortAndResend)
        #expect(action(.abortable, inDoubt: true) == .renew)
        #expect(action(.retriable, retained: false, inDoubt: true) == .renew)
        #expect(action(.indefinite) == .renew)
        #expect(action(.fatal) == .renew)
        #expect(
            recovery.action(
                for: .abortable, .messageTooLarge, isInDoubt: false, isRetained: true, isExpired: false, now: 0)
                == .refuse)
    }

    @Test func threeFencesInTenMinutesAreForgiven() {
        var recovery = ProducerRecovery()
        func fence(at now: Int64, isExpired: Bool = false) -> ProducerRecovery.Action {
            recovery.action(
                for: .fenced, .other, isInDoubt: false, isRetained: true, isExpired: isExpired, now: now)
        }
        for second in 0..<9 { #expect(fence(at: .seconds(second), isExpired: true) == .renewIfSlotIsOurs) }
        for second in 0..<3 { #expect(fence(at: .seconds(second)) == .renewIfSlotIsOurs) }
        #expect(fence(at: .seconds(599)) == .giveUp)
        #expect(fence(at: .seconds(1300)) == .renewIfSlotIsOurs)
    }
}

/// `lost` counts connections, as the producer does.
@Suite struct EndInDoubtTests {
    @Test func nothingIsInDoubtWhileConnectionsStay() {
        var doubt = EndInDoubt()
        doubt.ended()
        #expect(!doubt.isDue(0))
        #expect(!doubt.forbidsRecords(0))
    }

    @Test func aLossBeforeTheNextTransactionIsTakenForbidsIt() {
        var doubt = EndInDoubt()
        doubt.ended()
        #expect(doubt.isDue(1))
        #expect(doubt.forbidsRecords(1))
        // What is acknowledged afterwards proves nothing: the coordinator may have come back, and have forgotten.
        doubt.acknowledged(1)
        #expect(doubt.forbidsRecords(1))
        doubt.isSettled(1)
        #expect(!doubt.isDue(1))
        #expect(!doubt.forbidsRecords(1))
    }

    @Test func aLossAfterTheNextWasTakenIsLookedIntoAfterIt() {
        var doubt = EndInDoubt()
        doubt.ended()
        doubt.acknowledged(0)
        #expect(!doubt.forbidsRecords(1))
        #expect(doubt.isDue(1))
        doubt.ended()
        #expect(doubt.forbidsRecords(1))
    }

    @Test func aLossDuringTheLookIsAnotherOne() {
        var doubt = EndInDoubt()
        doubt.isSettled(1)
        #expect(doubt.isDue(2))
        #expect(doubt.forbidsRecords(2))
    }
}

@Suite struct PartitionPinsTests {
    @Test func theFirstCountIsTheUsualOneAndAChangeIsSeen() {
        var pins = PartitionPins()
        #expect(pins.judge("a", count: 3, isEmpty: { true }) == .fits)
        #expect(pins.judge("a", count: 3, isEmpty: { false }) == .fits)
        #expect(pins.judge("a", count: 4, isEmpty: { false }) == .changed(from: 3))
    }

    @Test func aNewTopicMayHaveAnotherCount() {
        var pins = PartitionPins()
        _ = pins.judge("a", count: 1, isEmpty: { true })
        #expect(pins.judge("b", count: 6, isEmpty: { true }) == .fits)
        #expect(pins.judge("b", count: 6, isEmpty: { false }) == .fits)
        #expect(pins.judge("b", count: 7, isEmpty: { true }) == .changed(from: 6))
    }

    /// Where the counts agree, whether the topic is empty is not asked: it must make no difference.
    @Test func whereCountsAgreeNothingElseMatters() {
        var pins = PartitionPins()
        for (topic, count) in [("a", 3), ("b", 3), ("c", 6), ("c", 6)] as [(String, Int32)] {
            if pins.agree(with: topic, count: count) {
                var (empty, full) = (pins, pins)
                #expect(empty.judge(topic, count: count, isEmpty: { true }) == .fits)
                #expect(full.judge(topic, count: count, isEmpty: { false }) == .fits)
                #expect(empty == full)
            }
            #expect(pins.judge(topic, count: count, isEmpty: { true }) == .fits)
        }
        #expect(pins.agree(with: "a", count: 3) && pins.agree(with: "c", count: 6))
        #expect(!pins.agree(with: "a", count: 6) && !pins.agree(with: "c", count: 3))
    }

    @Test func whatAHumanAcceptsFitsAndIsRemembered() {
        var pins = PartitionPins()
        _ = pins.judge("a", count: 1, isEmpty: { true })
        pins.accept("a", count: 2)
        #expect(pins.judge("a", count: 2, isEmpty: { false }) == .fits)
        var position = StoredPosition(
            systemID: "1", timeline: 1, slot: "s", epoch: 1, lsn: LSN(1), options: "", state: .streaming)
        position.partitions = pins
        #expect(ProgressRecord.decode(Array(ProgressRecord.encode(position).utf8)) == position)
    }
}
