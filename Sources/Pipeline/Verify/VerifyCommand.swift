import ChangeData
import Kafka
package import Postgres

/// Reads back what the sink has written.
package protocol StoredObjects {
    /// Shows each line of each object of a topic, by partition in the order of the offsets; answers the last offset of each
    /// partition, tombstones included, nil for one without objects.
    func forEachLine(_ topic: String, _ body: (_ line: [UInt8]) -> Void) throws(AgentExit) -> [Int64?]
}

/// `sluice verify`: compares tables, as of an LSN, with what Kafka and S3 say they are (C11).
///
/// The objects are listed first, then a snapshot of the tables is taken together with its LSN: what the objects hold was
/// committed before it. Kafka is waited for until it holds that LSN. Then three things are folded to rows and compared: the
/// table; the topic up to the LSN; the objects, and behind each partition's last object the topic up to the LSN.
package struct VerifyCommand {
    private let settings: StreamSettings
    private let services: StreamServices
    private let objects: (any StoredObjects)?
    private let output: Output

    package init(settings: StreamSettings, services: StreamServices, objects: (any StoredObjects)?, output: Output) {
        self.settings = settings
        self.services = services
        self.objects = objects
        self.output = output
    }

    /// One comparison that was made.
    private struct Outcome {
        var table: String
        /// `kafka`, or `s3` with what of Kafka is not in it yet.
        var place: String
        var rows: Int
        var changes: Int
        var difference: TableDifference
        /// Whether records went from Kafka before they were in an object: their rows may be right again by later ones, and are
        /// missing all the same.
        var hasHole = false
        var note: String?

        var isEqual: Bool { difference.isEmpty && !hasHole }
        var verdict: String {
            guard hasHole else { return difference.isEmpty ? "equal" : difference.description }
            return difference.isEmpty ? "records are missing" : "records are missing, \(difference.description)"
        }
    }

    /// What the objects of a table say.
    private struct Stored {
        var fold: TableFold
        /// The last offset in the store, by partition.
        var ends: [Int64?]
    }

    /// - Parameter patterns: the tables to look at; none: all.
    package func run(tables patterns: [TablePattern], json: Bool) throws(AgentExit) {
        let tables = try find(patterns)
        var stored: [UInt32: Stored] = [:]
        for table in tables { stored[table.oid] = try readObjects(of: table) }
        var snapshot = try Snapshot.take(settings, output: json ? nil : output)
        let position = try awaitKafka(snapshot.lsn)
        let isBehind = position.lsn < snapshot.lsn
        var outcomes: [Outcome] = []
        for table in tables {
            outcomes += try compare(table, stored[table.oid], &snapshot, epoch: position.epoch)
        }
        report(outcomes, at: snapshot.lsn, held: position.lsn, json: json)
        if isBehind, !json {
            output.line(
                "  Kafka holds no more than \(position.lsn): no agent streams, and what came since shows as a difference"
            )
        }
        let different = outcomes.filter { !$0.isEqual }
        guard different.isEmpty else {
            throw AgentExit(
                .different, "verify found differences in \(different.count) of \(outcomes.count) comparisons")
        }
    }

    private func find(_ wanted: [TablePattern]) throws(AgentExit) -> [TableFacts] {
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            let tables = try connection.tables(matching: settings.tables).filter { table in
                wanted.isEmpty || wanted.match(schema: table.schema, table: table.name)
            }
            guard !tables.isEmpty else { throw PostgresError(.undefined, "no table matches") }
            return tables
        } catch { throw CommandErrors.exit(error) }
    }

    private func topic(of table: TableFacts) throws(AgentExit) -> String {
        do throws(TopicError) {
            return try topicName(
                template: settings.format.topicTemplate, name: settings.name, schema: table.schema, table: table.name)
        } catch { throw AgentExit(.configuration, error.description) }
    }

    private func readObjects(of table: TableFacts) throws(AgentExit) -> Stored? {
        guard let objects else { return nil }
        var fold = TableReader(table: table, settings: settings).emptyFold
        var failure: TableFold.Malformed?
        let name = try topic(of: table)
        let ends = try objects.forEachLine(name) { line in
            if failure != nil { return }
            do throws(TableFold.Malformed) { try fold.apply(line) } catch { failure = error }
        }
        if let failure { throw AgentExit(.different, "objects of \(name): \(failure.reason)") }
        return Stored(fold: fold, ends: ends)
    }

    /// Waits until Kafka holds everything that the snapshot shows, as long as an agent streams; answers how far it is.
    private func awaitKafka(_ lsn: LSN) throws(AgentExit) -> StoredPosition {
        let started = services.clock.monotonic()
        let wakeup = Wakeup()
        do throws(KafkaError) {
            let store = try ProgressStore(settings, events: services.kafkaEvents)
            while true {
                if case .position(let position) = try store.read(timeout: .seconds(15)).found,
                    position.lsn >= lsn || !isStreaming()
                {
                    return position
                }
                // An idle position is committed every ten seconds; a busy one far more often.
                guard services.clock.monotonic() &- started < .seconds(60) else { break }
                wakeup.wait(milliseconds: 250)
            }
        } catch { throw CommandErrors.exit(error) }
        throw AgentExit(
            .unavailable, "Kafka does not hold \(lsn) yet, after 60 s",
            hints: ["see that the agent runs: sluice status"])
    }

    /// Whether an agent has the slot.
    private func isStreaming() -> Bool {
        switch services.slotHolder(settings, walsender: 0) {
        case .us, .other, .unknown: true
        case .nobody: false
        }
    }

    private func compare(
        _ table: TableFacts, _ stored: Stored?, _ snapshot: inout Snapshot, epoch: UInt32
    ) throws(AgentExit) -> [Outcome] {
        let reader = TableReader(table: table, settings: settings)
        let contents = try snapshot.contents(reader)
        let name = try topic(of: table)
        var kafka = reader.emptyFold
        var both = stored?.fold
        var failure: TableFold.Malformed?
        var behind = 0
        var isTrimmed = false
        var hole = false
        do throws(KafkaError) {
            let topics = TopicReader(settings: settings, services: services)
            let bounds = try topics.bounds(of: name)
            isTrimmed = bounds.contains { $0.low > 0 }
            let ends = bounds.indices.map { stored?.ends.indices.contains($0) == true ? stored?.ends[$0] : nil }
            if stored != nil {
                let read = try topics.readBySink(of: name, partitions: bounds.count)
                hole = bounds.indices.contains { bounds[$0].low > max((ends[$0] ?? -1) + 1, read[$0]) }
            }
            try topics.forEach(of: name, from: bounds.map(\.low), bounds: bounds, epoch: epoch, before: snapshot.lsn) {
                partition, offset, value in
                if failure != nil { return }
                do throws(TableFold.Malformed) {
                    try kafka.apply(value)
                    guard offset > (ends[Int(partition)] ?? -1) else { return }
                    try both?.apply(value)
                    behind += 1
                } catch { failure = error }
            }
        } catch { throw CommandErrors.exit(error) }
        if let failure { throw AgentExit(.different, "topic \(name): \(failure.reason)") }
        let title = "\(table.schema).\(table.name)"
        var outcomes = [
            Outcome(
                table: title, place: "kafka", rows: contents.count, changes: kafka.changes,
                difference: TableDifference(
                    table: contents, records: kafka.rows, isTrimmed: isTrimmed,
                    unresolved: isTrimmed ? kafka.unresolved : [:]),
                note: isTrimmed
                    ? "the topic's beginning is gone (retention): rows and values that did not change since are not compared"
                    : nil
            )
        ]
        if let both {
            var note = behind > 0 ? "\(behind) changes are in Kafka and not in an object yet" : nil
            if hole { note = "records between the last object and the log's start are lost" }
            outcomes.append(
                Outcome(
                    table: title, place: "s3", rows: contents.count, changes: both.changes - behind,
                    difference: TableDifference(table: contents, records: both.rows, isTrimmed: false), hasHole: hole,
                    note: note))
        }
        return outcomes
    }

    /// - Parameter held: how far Kafka is.
    private func report(_ outcomes: [Outcome], at lsn: LSN, held: LSN, json: Bool) {
        if json {
            let items = outcomes.map { outcome in
                let counts = TableDifference.Kind.allCases.map {
                    "\"\($0.rawValue)\":\(outcome.difference.counts[$0] ?? 0)"
                }
                return
                    "{\"table\":\(ProgressRecord.quoted(outcome.table)),\"place\":\"\(outcome.place)\",\"rows\":\(outcome.rows),"
                    + "\"changes\":\(outcome.changes)," + counts.joined(separator: ",")
                    + ",\"hole\":\(outcome.hasHole),\"note\":\(outcome.note.map(ProgressRecord.quoted) ?? "null")}"
            }
            output.line(
                "{\"lsn\":\"\(lsn)\",\"kafka_lsn\":\"\(held)\",\"comparisons\":[\(items.joined(separator: ","))]}")
            return
        }
        output.line("as of \(lsn):")
        for outcome in outcomes {
            let place = outcome.place == "s3" ? "s3   " : "kafka"
            output.line(
                "  \(outcome.table)  \(place)  \(outcome.rows) rows, \(outcome.changes) changes: \(outcome.verdict)")
            if let note = outcome.note { output.line("    \(note)") }
            for example in outcome.difference.examples { output.line("    \(example)") }
        }
    }
}
