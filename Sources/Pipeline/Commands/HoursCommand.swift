import Dates
import ObjectStorage
import Telemetry

/// `sluice hours`: which hours of which topics are complete (C6), as the manifests in the store say.
package struct HoursCommand {
    /// What is asked for.
    package struct Request: Sendable {
        /// One topic; nil: all that the configuration sinks.
        package var topic: String?
        /// One hour, by any time in it, microseconds since 1970: the exit code says whether it is complete.
        package var hour: Int64?
        /// How many hours back otherwise.
        package var last: Int
        package var json: Bool

        package init(topic: String?, hour: Int64?, last: Int, json: Bool) {
            self.topic = topic
            self.hour = hour
            self.last = last
            self.json = json
        }
    }

    private struct Row {
        var topic: String
        var hour: SourceHour
        var objects: Int
        /// Nil where the hour is not sealed.
        var manifest: HourManifest.Summary?
        /// Objects that came after the hour was sealed, and that no manifest names yet.
        var late: Int
        /// Objects that the manifest names, and that are not there any more.
        var missing: Int
        var isComplete: Bool { manifest != nil && late == 0 && missing == 0 }
    }

    private let settings: SinkSettings
    private let clock: Clock
    private let output: Output

    package init(settings: SinkSettings, clock: Clock, output: Output) {
        self.settings = settings
        self.clock = clock
        self.output = output
    }

    /// - Throws: `different` (1) where one hour was asked for and is not complete in every topic; `usage` (64) where nothing will ever be
    ///   known of the topic that was asked for.
    package func run(_ request: Request) throws(AgentExit) {
        let rows: [Row]
        var unknown: String?
        do throws(StorageError) {
            let ledger = HourLedger(store: try ObjectStore(settings.store))
            // One that the configuration had before has its hours.
            if let topic = request.topic, !settings.topics.accepts(topic), try ledger.firstHour(of: topic) == nil {
                unknown = topic
            }
            rows = unknown == nil ? try read(request, ledger) : []
        } catch { throw AgentExit(.unavailable, "the store \(settings.storeName): \(error)") }
        if let unknown {
            throw AgentExit(
                .usage, "--topic \(unknown) is no topic of this configuration, and the store has no objects of it",
                hints: ["sluice hours, without --topic, shows those that there are"])
        }
        if request.json { rows.forEach { output.line(json($0)) } } else { table(rows) }
        guard request.hour != nil else { return }
        let open = rows.filter { !$0.isComplete }.map(\.topic)
        if rows.isEmpty { throw AgentExit(.different, "no topic had begun: nothing is said of that hour") }
        if !open.isEmpty {
            throw AgentExit(.different, "the hour is not complete", details: open.map { "topic \($0)" })
        }
    }

    private func read(_ request: Request, _ ledger: HourLedger) throws(StorageError) -> [Row] {
        var topics: [String]
        if let topic = request.topic {
            topics = [topic]
        } else {
            topics = try ledger.topics()
            topics.removeAll { !settings.topics.accepts($0) }
            // A table that no worker has begun to sink has no hours that are complete.
            topics += settings.topics.named.filter { !topics.contains($0) }
        }
        var rows: [Row] = []
        for topic in topics.sorted() {
            if let time = request.hour {
                let hour = SourceHour(ofMicroseconds: time)
                let found = try ledger.hour(hour, of: topic)
                // The topic had not begun, and a later hour is sealed: nothing will ever be said of that one.
                if found == .init(), let first = try ledger.firstHour(of: topic), first > hour,
                    try ledger.isSealed(after: hour, of: topic)
                {
                    continue
                }
                rows.append(try row(topic, hour, found, ledger))
                continue
            }
            let now = SourceHour(ofMicroseconds: clock.wall() / 1000)
            let first = SourceHour(now.number - Int64(request.last) + 1)
            let found = try ledger.hours(of: topic, from: first)
            for hour in found.keys.sorted() {
                if let found = found[hour] { rows.append(try row(topic, hour, found, ledger)) }
            }
        }
        return rows
    }

    private func row(
        _ topic: String, _ hour: SourceHour, _ found: HourLedger.Hour, _ ledger: HourLedger
    ) throws(StorageError) -> Row {
        let manifest = found.revision > 0 ? try ledger.manifest(topic, hour, revision: found.revision) : nil
        let there = Set(found.keys)
        return Row(
            topic: topic, hour: hour, objects: found.keys.count, manifest: manifest,
            late: manifest.map { there.subtracting($0.keys).count } ?? 0,
            missing: manifest.map { $0.keys.subtracting(there).count } ?? 0)
    }

    // MARK: What is shown

    private func state(_ row: Row) -> String {
        guard let manifest = row.manifest else { return "open" }
        if row.missing > 0 { return "\(row.missing) objects are gone" }
        if row.late > 0 { return "late rows" }
        return "complete" + (manifest.revision == 1 ? "" : ", revision \(manifest.revision)")
            + (manifest.gaps == 0 ? "" : ", after a gap")
    }

    private func table(_ rows: [Row]) {
        guard !rows.isEmpty else { return output.line("no objects yet") }
        let header = ["HOUR (UTC)", "TOPIC", "STATE", "OBJECTS", "ROWS", "LSN"]
        let lines = rows.map { row in
            let range = row.manifest.flatMap { manifest in
                manifest.firstPosition.flatMap { first in manifest.lastPosition.map { "\(first) - \($0)" } }
            }
            return [
                String(ISOTime.text(microseconds: row.hour.start).prefix(13)) + "h", row.topic, state(row),
                "\(row.objects)", row.manifest.map { "\($0.records)" } ?? "-", range ?? "-",
            ]
        }
        let widths = header.indices.map { column in ([header] + lines).map { $0[column].count }.max() ?? 0 }
        for line in [header] + lines {
            let cells = zip(line, widths).map { $0 + String(repeating: " ", count: max(0, $1 - $0.count)) }
            output.line(cells.joined(separator: "  ").trimmingTrailingSpaces)
        }
    }

    private func json(_ row: Row) -> String {
        var json = JSONText(escaping: .connect)
        json.object { line in
            line.member("topic", row.topic)
            line.member("hour", ISOTime.text(microseconds: row.hour.start))
            line.member("complete", row.isComplete)
            line.member("objects", row.objects)
            line.member("late_objects", row.late)
            line.member("missing_objects", row.missing)
            if let manifest = row.manifest {
                line.member("revision", manifest.revision)
                line.member("records", manifest.records)
                line.member("gaps", manifest.gaps)
                line.member(
                    "manifest", HourManifest.key(topic: row.topic, hour: row.hour, revision: manifest.revision))
            }
        }
        return json.text
    }
}

extension String {
    fileprivate var trimmingTrailingSpaces: String {
        var text = self[...]
        while text.last == " " { text = text.dropLast() }
        return String(text)
    }
}
