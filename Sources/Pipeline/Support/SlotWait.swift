import Postgres
import Telemetry

/// Says what a slot that is being made waits for: every transaction that is running, for hours if one runs for hours (trap 37).
final class SlotWait {
    private let settings: StreamSettings
    /// nil: standard output is not for people, and the log has it.
    private let output: Output?
    private let log: Logger
    private var seconds = 0
    /// The transactions that were running when it was looked last.
    private(set) var running: [String] = []

    init(settings: StreamSettings, output: Output?, log: Logger) {
        self.settings = settings
        self.output = output
        self.log = log
    }

    /// Another second has gone by.
    func tick() {
        seconds += 1
        if seconds % 5 == 1 { tell() }
    }

    /// Says it now.
    func tell() {
        // Where the server does not answer, the wait itself says so at its end.
        guard var connection = try? PostgresConnection(connecting: settings.postgres, timeout: .seconds(2)),
            let found = try? connection.runningTransactions()
        else { return }
        running = found.map { "pid \($0.pid.map { "\($0)" } ?? "-"), for \($0.ageSeconds) s: \($0.description)" }
        if let output {
            output.line("waiting for \(running.count) running transactions to end (\(seconds) s):")
            for transaction in running { output.line("  " + transaction) }
        } else {
            log.warning(
                "waiting for running transactions to end",
                ["seconds": .init(seconds), "transactions": .init(running.joined(separator: "; "))])
        }
    }
}
