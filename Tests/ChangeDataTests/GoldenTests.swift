import ChangeData
import Testing

/// What sluice writes of the golden changes, compared with what Debezium wrote, cell by cell. Every difference must be
/// in `goldenDifferences`, and every entry there must be met.
struct GoldenTests {
    struct Run {
        var topics: [String: [Output]] = [:]
        var errors: [ChangeDataError] = []
        /// Records that Debezium wrote of changes that have no key here: by topic.
        var keyless: [String: Int] = [:]
    }

    /// A time after all that was recorded: what is dated ahead says nothing of the source's clock.
    private static let arrival: Int64 = 1_800_000_000_123_456_789

    static func run(_ file: String) throws -> Run {
        var catalog = GoldenCatalog()
        let session = Session { catalog.describe($0) }
        var run = Run()
        for message in try Fixtures.messages(file) {
            let errors = session.errors.count
            for output in session.feed(message, receivedAt: arrival) {
                run.topics[output.topic, default: []].append(output)
            }
            if session.errors.count > errors, case .noKey(let table, _, _) = session.errors[errors] {
                // Debezium writes a tombstone too, without key and value.
                run.keyless["golden.\(table)", default: 0] += message.bytes[0] == UInt8(ascii: "D") ? 2 : 1
            }
        }
        run.errors = session.errors
        #expect(session.encoder.position == nil)
        return run
    }

    @Test(arguments: ["pgoutput-15.ndjson", "pgoutput-18.ndjson"])
    func valuesAreDebeziumsButForTheListedDifferences(_ file: String) throws {
        let run = try Self.run(file)
        var found: [GoldenCell: GoldenPair] = [:]
        var records = 0
        for (topic, expected) in try Fixtures.debezium() {
            let ours = run.topics["golden.\(topic)"] ?? []
            // The last of a table that lost its key are keyless; the tables that never had one are wholly so.
            let keyless = run.keyless["golden.\(topic)"] ?? 0
            let keyed = expected.filter { $0.key_raw != nil || ($0.value_raw?.contains("\"op\":\"t\"") ?? false) }
            #expect(expected.count - keyed.count == keyless, "\(topic)")
            try #require(ours.count == keyed.count, "\(topic)")
            for (output, record) in zip(ours, keyed) {
                var comparison = GoldenComparison(
                    topic: topic, offset: record.offset, isSameServer: file.contains("15"))
                found.merge(try comparison.differences(output, record)) { first, _ in first }
                records += 1
            }
        }
        #expect(records > 390)
        var met: Set<GoldenCell> = []
        for (cell, pair) in found {
            let entry = goldenDifferences.first { entry in
                entry.topic == cell.topic && entry.field == cell.field && (entry.file ?? file) == file
            }
            let isAbsent = pair == GoldenPair(ours: "null", theirs: "(absent)") && entry?.isNullElsewhere == true
            let listed = entry?.ours[cell.offset] ?? (isAbsent ? "null" : nil)
            #expect(listed == pair.ours, "\(cell): ours \(pair.ours), Debezium's \(pair.theirs)")
            met.insert(cell)
        }
        for entry in goldenDifferences where (entry.file ?? file) == file {
            for offset in entry.ours.keys {
                let cell = GoldenCell(topic: entry.topic, offset: offset, field: entry.field)
                #expect(met.contains(cell), "\(cell) is listed and does not differ")
            }
        }
    }

    /// What the server sends again is its decision: it leaves out a transaction whose commit record begins before the position, and
    /// a message whose record does. A commit record may begin right where a message's ends, as one does in the recordings.
    @Test(arguments: ["pgoutput-15.ndjson", "pgoutput-18.ndjson"])
    func nothingIsLostOrTwiceWhereverReplicationRestarts(_ file: String) throws {
        let messages = try Fixtures.messages(file)
        var catalog = GoldenCatalog()
        let whole = Session { catalog.describe($0) }
        for message in messages { whole.feed(message, receivedAt: Self.arrival) }
        let all = whole.outputs()
        let boundaries = whole.chunk.boundaries
        #expect(
            zip(boundaries, boundaries.dropFirst()).contains {
                $0.transaction.endLSN == $1.transaction.commitLSN && $1.transaction.xid != 0
            }, "no transaction begins where a position ends: this would not see it lost")
        for (index, boundary) in boundaries.enumerated() {
            let end = boundary.transaction.endLSN
            let sent = boundaries.filter {
                $0.transaction.xid == 0 ? $0.transaction.commitLSN > end : $0.transaction.commitLSN >= end
            }
            try #require(sent == Array(boundaries[(index + 1)...]), "the server, from \(end)")
            // And of what comes all the same, as an older server's, what is before the position is left out here.
            var again = GoldenCatalog()
            let session = Session(resumingAt: end) { again.describe($0) }
            for message in messages { session.feed(message, receivedAt: Self.arrival) }
            let rest = session.outputs().map(\.position)
            try #require(rest == all.dropFirst(boundary.recordCount).map(\.position), "from \(end)")
        }
    }

    @Test func onlyRowsWithoutKeyAreRefused() throws {
        let run = try Self.run("pgoutput-15.ndjson")
        for error in run.errors {
            guard case .noKey(let table, _, _) = error else {
                Issue.record("\(error)")
                continue
            }
            #expect(["ri_full_no_key", "ri_default_no_key", "renamed_later"].contains(table.name))
            #expect(error.description.contains("ALTER TABLE \"public\".\"\(table.name)\" ADD PRIMARY KEY"))
        }
        #expect(run.errors.count == 9)
    }

    @Test func serversOfBothVersionsGiveTheSameRows() throws {
        let first = try Self.run("pgoutput-15.ndjson")
        let second = try Self.run("pgoutput-18.ndjson")
        for (topic, outputs) in first.topics {
            let others = second.topics[topic] ?? []
            #expect(outputs.map(\.key) == others.map(\.key))
            #expect(outputs.map(\.operation) == others.map(\.operation))
        }
    }
}

/// One cell of one record of the recording.
struct GoldenCell: Hashable, CustomStringConvertible {
    var topic: String
    var offset: Int
    var field: String
    var description: String { "\(topic) \(offset) \(field)" }
}

struct GoldenPair: Equatable {
    var ours: String
    var theirs: String
}

/// Compares one record with Debezium's.
struct GoldenComparison {
    var topic: String
    var offset: Int
    /// Whether LSNs, times and numbers of transactions must be equal too.
    var isSameServer: Bool
    private var found: [GoldenCell: GoldenPair] = [:]

    init(topic: String, offset: Int, isSameServer: Bool) {
        self.topic = topic
        self.offset = offset
        self.isSameServer = isSameServer
    }

    mutating func note(_ field: String, _ ours: String?, _ theirs: String?) {
        guard ours != theirs else { return }
        found[GoldenCell(topic: topic, offset: offset, field: field)] =
            GoldenPair(ours: ours ?? "(absent)", theirs: theirs ?? "(absent)")
    }

    mutating func note(_ field: String, _ ours: TestJSON?, _ theirs: TestJSON?) {
        if let ours, let theirs, ours.matches(theirs) { return }
        note(field, ours?.description, theirs?.description)
    }

    mutating func differences(
        _ output: Output, _ record: Fixtures.DebeziumRecord
    ) throws -> [GoldenCell: GoldenPair] {
        note("key", output.key, record.key_raw)
        note("link", output.link, record.headers?["__debezium.newkey"] ?? record.headers?["__debezium.oldkey"])
        if output.link != nil, let name = output.linkName, record.headers?[name] == nil {
            note("linkName", name, nil)
        }
        guard let value = output.value, let raw = record.value_raw else {
            note("value", output.value, record.value_raw)
            return found
        }
        #expect(!value.contains("\n"))
        let ours = try TestJSON(value)
        let theirs = try TestJSON(raw)
        note("names", ours.names.joined(separator: ","), theirs.names.joined(separator: ","))
        for image in ["before", "after"] { compare(image, ours[image], theirs[image]) }
        note("op", ours["op"], theirs["op"])
        note("message", ours["message"], theirs["message"])
        #expect(ours["transaction"] == .null)
        #expect(ours["ts_ms"] == .number("1800000000123"))
        try compareSource(ours["source"], theirs["source"])
        return found
    }

    private mutating func compare(_ image: String, _ ours: TestJSON?, _ theirs: TestJSON?) {
        guard let ours, let theirs, ours != .null, theirs != .null else {
            note(image, ours, theirs)
            return
        }
        // Debezium leaves some columns out: the order of the others must be the same.
        let known = Set(theirs.names)
        note(
            "\(image) names", ours.names.filter(known.contains).joined(separator: ","),
            theirs.names.joined(separator: ","))
        for name in ours.names { note("\(image).\(name)", ours[name], theirs[name]) }
    }

    private mutating func compareSource(_ ours: TestJSON?, _ theirs: TestJSON?) throws {
        let ours = try #require(ours)
        let theirs = try #require(theirs)
        note("source names", ours.names.joined(separator: ","), theirs.names.joined(separator: ","))
        let volatile = ["ts_ms", "ts_us", "ts_ns", "lsn", "sequence", "txId"]
        let isFixed = theirs["origin"] != .null
        for name in ours.names where isSameServer || !volatile.contains(name) || (isFixed && name == "ts_us") {
            note("source.\(name)", ours[name], theirs[name])
        }
    }
}
