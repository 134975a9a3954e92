import ChangeData
import Telemetry

/// What `sluice verify` has found: for people in lines, for scripts as JSON.
struct VerifyReport {
    /// One comparison that was made.
    struct Outcome {
        var table: String
        /// `kafka`, or `s3` with what of Kafka is not in it yet.
        var place: String
        var rows: Int
        var changes: Int
        var difference: TableDifference
        /// Whether records are in no object that should be: their rows may be right again by later ones, and are missing all the
        /// same.
        var hasHole = false
        var note: String?

        var isEqual: Bool { difference.isEmpty && !hasHole }
        var verdict: String {
            guard hasHole else { return difference.isEmpty ? "equal" : difference.description }
            return difference.isEmpty ? "records are missing" : "records are missing, \(difference.description)"
        }
    }

    /// As of which the tables were read.
    var lsn: LSN
    /// How far Kafka was.
    var held: LSN
    var outcomes: [Outcome] = []

    /// One line of JSON, without a line end.
    var json: String {
        var json = JSONText(escaping: .connect)
        json.object { report in
            report.member("lsn", lsn.description)
            report.member("kafka_lsn", held.description)
            report.objects("comparisons", of: outcomes) { json, outcome in
                json.member("table", outcome.table)
                json.member("place", outcome.place)
                json.member("rows", outcome.rows)
                json.member("changes", outcome.changes)
                for kind in TableDifference.Kind.allCases {
                    json.member(kind.rawValue, outcome.difference.counts[kind] ?? 0)
                }
                json.member("hole", outcome.hasHole)
                json.member("note", outcome.note.map { .string($0) } ?? .null)
            }
        }
        return json.text
    }

    var lines: [String] {
        var lines = ["as of \(lsn):"]
        for outcome in outcomes {
            let place = outcome.place == "s3" ? "s3   " : "kafka"
            lines.append(
                "  \(outcome.table)  \(place)  \(outcome.rows) rows, \(outcome.changes) changes: \(outcome.verdict)")
            if let note = outcome.note { lines.append("    \(note)") }
            lines += outcome.difference.examples.map { "    \($0)" }
        }
        if held < lsn {
            lines.append(
                "  Kafka holds no more than \(held): no agent streams, and what came since shows as a difference")
        }
        return lines
    }
}
