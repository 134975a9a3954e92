import ChangeData
import Postgres
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

    /// What was compared as of one snapshot.
    struct Round {
        /// As of which the tables were read.
        var lsn: LSN
        /// How far Kafka was.
        var held: LSN
        var outcomes: [Outcome] = []
    }

    /// A table of which nothing can be said.
    struct Uncompared {
        var table: String
        /// The rest of a sentence that begins with the table.
        var reason: String
        var hint: String

        /// The server did not let us read it.
        /// - Parameter publication: the one that does not publish it; nil where it is published.
        static func refused(_ table: TableFacts, _ error: PostgresError, unpublishedBy publication: String?) -> Self {
            let unpublished = publication.map { ", and publication \($0) does not publish it" } ?? ""
            let hint =
                error.kind == .permission
                ? "GRANT SELECT ON \(Quoting.qualified(table.schema, table.name)), and USAGE on its schema, to the agent's role"
                : "run verify again, or see sluice check"
            return Self(
                table: table.qualifiedName, reason: "could not be read: \(error.message)\(unpublished)",
                hint: publication == nil
                    ? hint : "take \(table.qualifiedName) out of postgres.tables; or publish it (sluice check)")
        }

        /// Something has happened to it that snapshots do not show.
        static func overtaken(_ table: TableFacts, _ reason: String) -> Self {
            Self(table: table.qualifiedName, reason: reason, hint: "run verify again")
        }
    }

    /// One, and one more each time that a table was overtaken while it was compared.
    var rounds: [Round] = []
    var uncompared: [Uncompared] = []

    var outcomes: [Outcome] { rounds.flatMap(\.outcomes) }

    /// How a command ends that has printed this; nil: all is equal.
    var exit: AgentExit? {
        let different = outcomes.filter { !$0.isEqual }
        guard different.isEmpty else {
            return AgentExit(
                .different, "verify found differences in \(different.count) of \(outcomes.count) comparisons",
                details: uncompared.map { "\($0.table) \($0.reason)" })
        }
        guard !uncompared.isEmpty else { return nil }
        let hints = uncompared.map(\.hint)
        return AgentExit(
            .unavailable, "verify could not compare all tables",
            details: uncompared.map { "\($0.table) \($0.reason)" },
            hints: hints.indices.filter { hints.firstIndex(of: hints[$0]) == $0 }.map { hints[$0] })
    }

    /// One line of JSON, without a line end. On top the last snapshot.
    var json: String {
        var json = JSONText(escaping: .connect)
        json.object { report in
            report.member("lsn", rounds.last.map { .string($0.lsn.description) } ?? .null)
            report.member("kafka_lsn", rounds.last.map { .string($0.held.description) } ?? .null)
            let compared = rounds.flatMap { round in round.outcomes.map { (round.lsn, $0) } }
            report.objects("comparisons", of: compared) { json, compared in
                let (lsn, outcome) = compared
                json.member("table", outcome.table)
                json.member("place", outcome.place)
                json.member("lsn", lsn.description)
                json.member("rows", outcome.rows)
                json.member("changes", outcome.changes)
                for kind in TableDifference.Kind.allCases {
                    json.member(kind.rawValue, outcome.difference.counts[kind] ?? 0)
                }
                json.member("hole", outcome.hasHole)
                json.member("note", outcome.note.map { .string($0) } ?? .null)
            }
            report.objects("not_compared", of: uncompared) { json, table in
                json.member("table", table.table)
                json.member("reason", table.reason)
            }
        }
        return json.text
    }

    var lines: [String] {
        var lines: [String] = []
        for round in rounds where !round.outcomes.isEmpty {
            lines.append("as of \(round.lsn):")
            for outcome in round.outcomes {
                let place = outcome.place == "s3" ? "s3   " : "kafka"
                lines.append(
                    "  \(outcome.table)  \(place)  \(outcome.rows) rows, \(outcome.changes) changes: \(outcome.verdict)"
                )
                if let note = outcome.note { lines.append("    \(note)") }
                lines += outcome.difference.examples.map { "    \($0)" }
            }
            if round.held < round.lsn {
                lines.append(
                    "  Kafka holds no more than \(round.held): no agent streams, and what came since shows as a difference"
                )
            }
        }
        if !uncompared.isEmpty { lines.append("not compared:") }
        lines += uncompared.map { "  \($0.table) \($0.reason)" }
        return lines
    }
}
