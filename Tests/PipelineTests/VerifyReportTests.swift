import ChangeData
import Testing

@testable import Pipeline

@Suite struct VerifyReportTests {
    /// What could not be compared is neither equal nor different; what differs is told first.
    @Test func eachVerdictHasItsExit() throws {
        func outcome(_ table: String, extra: Bool) -> VerifyReport.Outcome {
            var difference = TableDifference(isTrimmed: false)
            if extra { difference.note(extra: Array(#"{"id":1}"#.utf8)) }
            return .init(table: table, place: "kafka", rows: 1, changes: 1, difference: difference)
        }
        var report = VerifyReport(rounds: [
            .init(lsn: LSN(1), held: LSN(1), outcomes: [outcome("s.a", extra: false)])
        ])
        #expect(report.exit == nil)
        report.uncompared = ["s.b", "s.c"].map { .init(table: $0, reason: "was altered", hint: "run verify again") }
        let uncompared = try #require(report.exit)
        #expect(uncompared.code == .unavailable && uncompared.hints == ["run verify again"])
        #expect(uncompared.details == ["s.b was altered", "s.c was altered"])
        report.rounds.append(.init(lsn: LSN(2), held: LSN(2), outcomes: [outcome("s.d", extra: true)]))
        let different = try #require(report.exit)
        #expect(different.code == .different && different.message.contains("1 of 2 comparisons"))
        #expect(different.details == uncompared.details)
        #expect(report.lines.filter { $0.hasPrefix("as of") } == ["as of 0/1:", "as of 0/2:"])
    }
}
