import Postgres
import Telemetry

/// Says what the slot of a snapshot waits for: one forgotten transaction holds it up for as long as it is open.
final class SnapshotWait {
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
        guard seconds % 5 == 1 else { return }
        // Where the server does not answer, the wait itself says so at its end.
        guard var connection = try? PostgresConnection(connecting: settings.postgres, timeout: .seconds(2)),
            let found = try? connection.runningTransactions()
        else { return }
        running = found.map(Self.text)
        if let output {
            output.line("waiting for \(running.count) running transactions to end (\(seconds) s):")
            for transaction in running { output.line("  " + transaction) }
        } else {
            log.warning(
                "waiting for running transactions to end",
                ["seconds": .init(seconds), "transactions": .init(running.joined(separator: "; "))])
        }
    }

    /// A transaction in one line.
    static func text(_ transaction: RunningTransaction) -> String {
        "pid \(transaction.pid.map { "\($0)" } ?? "-"), for \(transaction.ageSeconds) s: \(transaction.description)"
    }
}
