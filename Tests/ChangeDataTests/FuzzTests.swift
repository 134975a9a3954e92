import ChangeData
import Testing

/// No input traps: what is not a message is a typed error.
struct FuzzTests {
    /// What PostgreSQL 15 and 18 sent for the same changes.
    static let recordings = ["pgoutput-15.ndjson", "pgoutput-18.ndjson"]

    /// Every message of the recording, cut at every byte: never a value, since each decoder reads all of its bytes.
    @Test(arguments: recordings)
    func everyMessageCutAnywhereIsMalformed(_ recording: String) throws {
        var catalog = GoldenCatalog()
        let session = Session { catalog.describe($0) }
        var cuts = 0
        for message in try Fixtures.messages(recording) {
            for length in 0..<message.bytes.count {
                let step = session.cut(message, to: length)
                if case .malformed(let fault, _) = step, fault.offset <= length {
                    cuts += 1
                } else {
                    Issue.record("\(message.bytes[..<length]) gave \(String(describing: step))")
                }
            }
            let longer = Message(lsn: message.lsn, bytes: message.bytes + [0])
            #expect(session.feed(longer).isEmpty)
            session.feed(message)
        }
        #expect(cuts > 140_000)
        // The cuts have disturbed nothing.
        #expect(session.errors.filter { if case .noKey = $0 { true } else { false } }.count == 9)
    }

    /// Rows, with bits flipped: an error with a place, or records whose value is one line of JSON.
    @Test(arguments: recordings)
    func flippedBitsAreErrorsOrRecords(_ recording: String) throws {
        var random = Seeded(#function)
        var catalog = GoldenCatalog()
        for json in [EventFormat.JSON.text, .inline] {
            var format = EventFormat.test
            format.json = json
            let session = Session(format) { catalog.describe($0) }
            for message in try Fixtures.messages(recording) {
                let isRow = "IUD".utf8.contains(message.bytes[0])
                for _ in 0..<(isRow ? 8 : 0) {
                    var bytes = message.bytes
                    for _ in 0..<Int.random(in: 1...3, using: &random) {
                        let place = Int.random(in: 1..<min(bytes.count, 400), using: &random)
                        bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                    }
                    for output in session.feed(Message(lsn: message.lsn, bytes: bytes)) {
                        for case let text? in [output.key, output.value] {
                            #expect(throws: Never.self) { try TestJSON(text) }
                        }
                    }
                }
                session.feed(message)
            }
            for error in session.errors { #expect(!error.description.isEmpty) }
        }
    }

    /// Other messages with bits flipped, each against an encoder in the middle of a transaction.
    @Test(arguments: recordings)
    func flippedBitsOfOtherMessagesNeverTrap(_ recording: String) throws {
        var random = Seeded(#function)
        for message in try Fixtures.messages(recording) where !"IUD".utf8.contains(message.bytes[0]) {
            for _ in 0..<10 {
                let session = Session()
                if Bool.random(using: &random) { session.feed(Build.begin(1)) }
                var bytes = message.bytes
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    bytes[.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
                }
                session.feed(Message(lsn: message.lsn, bytes: bytes))
                #expect(session.errors.count + session.steps.count >= 1)
            }
        }
    }

    @Test func noiseNeverTraps() {
        var random = Seeded(#function)
        for _ in 0..<5000 {
            let session = Session()
            session.feed(Build.begin(1))
            session.feed(Build.relation(Build.table()))
            var bytes = (0..<Int.random(in: 0..<60, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if !bytes.isEmpty, let kind = "BCOYRTMIUDS".utf8.randomElement(using: &random) { bytes[0] = kind }
            session.feed(Message(lsn: LSN(1), bytes: bytes))
        }
    }

    /// Random texts of every type with a rule: refused or valid JSON.
    @Test func randomTextsOfEveryType() {
        var random = Seeded(#function)
        let types: [UInt32] = [
            16, 17, 20, 114, 600, 701, 790, 1082, 1083, 1114, 1184, 1186, 1266, 1560, 1700, 20_000, 1007, 1009, 1001,
            1185, 199,
        ]
        let alphabet = Array("0123456789-+:. {}[],\"\\=>NULBCtfxyearmonsdinfty$e()".utf8)
        for _ in 0..<6000 {
            let bytes = (0..<Int.random(in: 0..<24, using: &random)).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
            }
            let type = types[Int.random(in: 0..<types.count, using: &random)]
            var format = EventFormat.test
            format.json = .inline
            format.timestamps = Bool.random(using: &random) ? .iso : .epoch
            let session = Session(format) { _ in TableDescription(primaryKey: ["id"], types: ValueTests.types) }
            var table = Build.table()
            table.columns[1].typeOID = type
            table.columns[1].modifier = type == 1560 ? 5 : -1
            let outputs = EncoderTests.feed(
                session,
                [Build.begin(1), Build.relation(table), Build.insert(100, [.text("1"), .bytes(bytes), .null])])
            #expect(outputs.count + session.errors.count == 1)
            if let value = outputs.first?.value { #expect(throws: Never.self) { try TestJSON(value) } }
        }
    }
}
