import ChangeData

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
        let items = outcomes.map { outcome in
            let counts = TableDifference.Kind.allCases.map {
                "\"\($0.rawValue)\":\(outcome.difference.counts[$0] ?? 0)"
            }
            return
                "{\"table\":\(ProgressRecord.quoted(outcome.table)),\"place\":\"\(outcome.place)\",\"rows\":\(outcome.rows),"
                + "\"changes\":\(outcome.changes)," + counts.joined(separator: ",")
                + ",\"hole\":\(outcome.hasHole),\"note\":\(outcome.note.map(ProgressRecord.quoted) ?? "null")}"
        }
        return "{\"lsn\":\"\(lsn)\",\"kafka_lsn\":\"\(held)\",\"comparisons\":[\(items.joined(separator: ","))]}"
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
