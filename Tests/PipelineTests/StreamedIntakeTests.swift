import ChangeData
import Foundation
import ObjectStorage
import Testing

@testable import Pipeline

/// What a session of protocol 2 gives to the encoder, through real files.
@Suite struct StreamedIntakeTests {
    private var directory: String { NSTemporaryDirectory() }

    /// A record in words: topic, operation, key, value and position.
    private typealias Words = [String]

    private struct Line: Decodable {
        var lsn: String
        var data: String
    }

    private struct Run: ~Copyable {
        var encoder = ChangeEncoder(
            format: EventFormat(name: "golden", database: "golden", version: "1", epoch: 1), resumingAt: LSN(0))
        let chunk = RecordChunk(capacity: 4096)
        var intake: StreamedIntake?
        var mostBytes = 0
        /// How often the replay looked at nothing but what was rolled back.
        var steps = 0

        mutating func feed(_ message: Span<UInt8>, at lsn: LSN) throws {
            guard intake != nil else { return try encode(message, at: lsn) }
            let taken = try intake?.take(message, at: lsn) ?? .direct
            switch consume taken {
            case .direct: try encode(message, at: lsn)
            case .kept: break
            case .committed(var replay):
                loop: while true {
                    switch try replay.advance() {
                    case .message: try encode(replay.message, at: replay.lsn)
                    case .nothing: steps += 1
                    case .over: break loop
                    }
                }
                intake?.published(replay.commit.xid, replay.relations)
            }
            switch intake {
            case .some(let intake): mostBytes = max(mostBytes, intake.bytes)
            case .none: break
            }
        }

        private mutating func encode(_ message: Span<UInt8>, at lsn: LSN) throws {
            let step = try encoder.consume(message, at: lsn, receivedAt: 1_700_000_000_000_000_000, into: chunk)
            if case .describe(let relation) = step {
                try encoder.define(relation, as: TableDescription(primaryKey: ["id"]))
            }
        }

        borrowing func words() -> [Words] {
            chunk.records.map { record in
                [encoder.topics[record.topic], "\(record.operation)"]
                    + [record.key, record.value, record.position].map { range in
                        guard let range else { return "none" }
                        return chunk.withBytes { bytes in
                            String(decoding: range.map { bytes[$0] }, as: UTF8.self)
                        }
                    }
            }
        }
    }

    private func golden(_ file: String) throws -> [(lsn: LSN, bytes: [UInt8])] {
        let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let packed = try Data(contentsOf: here.appendingPathComponent("ChangeDataTests/Fixtures/\(file)"))
        var decompressor = try Decompressor(.gzip)
        var plain = Data()
        try decompressor.update(Array(packed).span) { piece in
            piece.withUnsafeBufferPointer { plain.append(contentsOf: $0) }
        }
        return try plain.split(separator: UInt8(ascii: "\n")).map { text in
            let line = try JSONDecoder().decode(Line.self, from: Data(text))
            let digits = Array(line.data.utf8).map { $0 < 0x3A ? $0 - 0x30 : $0 - 0x57 }
            let bytes = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
            return (try #require(LSN(line.lsn)), bytes)
        }
    }

    private func run(_ file: String, _ intake: consuming StreamedIntake?) throws -> ([Words], Int) {
        var run = Run()
        run.intake = intake
        for message in try golden(file) { try run.feed(message.bytes.span, at: message.lsn) }
        return (run.words(), run.mostBytes)
    }

    @Test func aStreamedRecordingGivesTheRecordsOfTheWholeOne() throws {
        let (whole, _) = try run("pgoutput-15-streamed-whole.ndjson.gz", nil)
        let (streamed, bytes) = try run(
            "pgoutput-15-streamed.ndjson.gz", try StreamedIntake(in: directory, limit: 1 << 20))
        #expect(whole.count > 3000 && bytes > 20_000)
        #expect(streamed.count == whole.count)
        for (ours, theirs) in zip(streamed, whole) where ours != theirs {
            Issue.record("\(ours)\n\(theirs)")
            break
        }
    }

    // MARK: Made up

    private func number(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }
    private func text(_ value: String) -> [UInt8] { Array(value.utf8) + [0] }
    private func start(_ xid: UInt32, first: Bool = true) -> [UInt8] { [0x53] + number(xid) + [first ? 1 : 0] }
    private let stop: [UInt8] = [0x45]
    private func commit(_ xid: UInt32, _ lsn: UInt64) -> [UInt8] {
        [0x63] + number(xid) + [0] + number(lsn) + number(lsn + 8) + number(Int64(0))
    }
    private func relation(_ part: UInt32? = nil, _ name: String = "t", columns: [String] = ["id", "v"]) -> [UInt8] {
        let head = number(UInt32(100)) + text("public") + text(name) + [0x64] + number(UInt16(columns.count))
        return [0x52] + (part.map { number($0) } ?? []) + head
            + columns.flatMap { [$0 == "id" ? 1 : 0] + text($0) + number(UInt32(25)) + number(Int32(-1)) }
    }
    private func insert(_ part: UInt32? = nil, _ values: [String]) -> [UInt8] {
        [0x49] + (part.map { number($0) } ?? []) + number(UInt32(100)) + [0x4E] + number(UInt16(values.count))
            + values.flatMap { [0x74] + number(UInt32($0.utf8.count)) + Array($0.utf8) }
    }
    private func whole(_ lsn: UInt64, _ messages: [[UInt8]]) -> [[UInt8]] {
        [[0x42] + number(lsn) + number(Int64(0)) + number(UInt32(3))] + messages
            + [[0x43, 0] + number(lsn) + number(lsn + 8) + number(Int64(0))]
    }

    private func records(_ messages: [[UInt8]], limit: Int = 1 << 24) throws -> [Words] {
        var run = Run()
        run.intake = try StreamedIntake(in: directory, limit: limit)
        for message in messages { try run.feed(message.span, at: LSN(5)) }
        return run.words()
    }

    @Test func largeMessagesCrossFramesAndSmallOnesShareThem() throws {
        let large = String(repeating: "abcdefghij", count: 150_000)
        var rows: [[UInt8]] = []
        for id in 0..<40 { rows.append(insert(id % 3 == 0 ? 7 : 1, ["\(id)", id % 10 == 4 ? large : "v\(id)"])) }
        let found = try records(
            [start(1), relation(1)] + rows[..<20] + [stop, start(1, first: false)] + rows[20...]
                + [stop, [0x41] + number(UInt32(1)) + number(UInt32(7)), commit(1, 900)])
        #expect(found.map { $0[2] } == (0..<40).filter { $0 % 3 != 0 }.map { "{\"id\":\"\($0)\"}" })
        #expect(found.count { $0[3].utf8.count > 1_000_000 } == 3)
        #expect(found.last?[4].hasPrefix("1/0/384/\(found.count)/") == true, "\(found.last?[4] ?? "")")
    }

    /// The one that was streamed brings an older definition along; what comes behind it is of the newer one, unannounced.
    @Test func aDefinitionOfTheStreamDoesNotOutliveIt() throws {
        let found = try records(
            [start(1), relation(1), insert(1, ["1", "a"]), stop]
                + whole(800, [relation(columns: ["id", "v", "w"]), insert(nil, ["2", "b", "c"])]) + [commit(1, 900)]
                + whole(1000, [insert(nil, ["3", "d", "e"])]))
        #expect(found.map { $0[2] } == ["2", "1", "3"].map { "{\"id\":\"\($0)\"}" })
        #expect(found[1][3].contains(#""after":{"id":"1","v":"a"}"#))
        #expect(found[2][3].contains(#""after":{"id":"3","v":"d","w":"e"}"#))
    }

    @Test func aTransactionOfWhichNothingIsLeftIsNone() throws {
        #expect(
            try records([
                start(1), relation(1), insert(7, ["1", "a"]), stop, [0x41] + number(UInt32(1)) + number(UInt32(7)),
                commit(1, 900),
            ]).isEmpty)
    }

    @Test func beyondItsBoundTheTransactionIsNamed() throws {
        let noise = (0..<40_000).map { _ in String(UInt64.random(in: 0 ... .max)) }.joined()
        var intake = try StreamedIntake(in: directory, limit: 300_000)
        _ = try intake.take(start(9).span, at: LSN(1))
        var refusal: StreamingRefusal?
        do throws(StreamedIntake.Failure) {
            for id in 0..<3 { _ = try intake.take(insert(9, ["\(id)", noise]).span, at: LSN(1)) }
        } catch {
            if case .refused(let found) = error { refusal = found }
        }
        #expect(refusal?.kind == .spool && refusal?.transaction == 9)
        #expect(intake.bytes <= 300_000)
    }

    @Test func whatIsDroppedGivesItsBytesBack() throws {
        var intake = try StreamedIntake(in: directory, limit: 1 << 20)
        for message in [start(9), insert(9, ["1", "a"]), stop] { _ = try intake.take(message.span, at: LSN(1)) }
        #expect(intake.bytes > 0 && intake.openCount == 1)
        _ = try intake.take(([0x41] + number(UInt32(9)) + number(UInt32(9))).span, at: LSN(1))
        #expect(intake.bytes == 0 && intake.openCount == 0)
    }

    @Test func withoutADirectoryItIsRefusedAtOnce() {
        #expect(throws: StreamingRefusal.self) { _ = try StreamedIntake(in: "/nowhere/at/all", limit: 1 << 20) }
    }

    @Test func aHundredThousandPartsRolledBackAreRemembered() throws {
        var messages = [start(1), relation(1), insert(1, ["kept", "a"])]
        for part in UInt32(2)..<100_002 { messages.append(insert(part, ["dropped", "b"])) }
        messages.append(stop)
        for part in UInt32(2)..<100_002 { messages.append([0x41] + number(UInt32(1)) + number(part)) }
        var run = Run()
        run.intake = try StreamedIntake(in: directory, limit: 1 << 24)
        for message in messages + [commit(1, 900)] { try run.feed(message.span, at: LSN(5)) }
        #expect(run.words().map { $0[2] } == ["{\"id\":\"kept\"}"])
        #expect(run.steps == 100, "it goes on in steps")
    }

    // MARK: From session to session

    @Test func protocol1StaysUntilTheTransactionIsOver() {
        var choice = StreamingChoice()
        func ask(_ restart: UInt64?) -> Bool { choice.isOn(restart: restart.map { LSN($0) }) }
        #expect(ask(nil))
        choice.refused(.spool, at: LSN(500))
        #expect(!ask(nil) && !ask(500))
        #expect(ask(501))
        choice.refused(.disk, at: LSN(700))
        #expect(!ask(600))
        choice.refused(.origin, at: LSN(1))
        choice.refused(.spool, at: LSN(1))
        #expect(!ask(900))
    }

    @Test func theSinkLeavesTheStreamItsHalf() {
        let policy = PressurePolicy(memory: 10, spool: 1000, files: 5)
        #expect(policy.leaving(0).spool == 1000 && policy.leaving(300).spool == 700)
        #expect(policy.leaving(900).spool == 500)
    }
}
