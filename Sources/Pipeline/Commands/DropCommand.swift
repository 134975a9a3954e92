import Postgres

/// `sluice drop`: removes slot and publication, never topics or objects.
package struct DropCommand {
    private let settings: StreamSettings
    private let output: Output
    private let clock: Clock

    package init(settings: StreamSettings, clock: Clock, output: Output) {
        self.settings = settings
        self.clock = clock
        self.output = output
    }

    package func run(dryRun: Bool) throws(AgentExit) {
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            if try isThere(&connection) {
                try perform(
                    "SELECT pg_catalog.pg_drop_replication_slot(\(Quoting.literal(settings.slot)))", dryRun, &connection
                )
            } else {
                output.line("slot \(settings.slot): is not there")
            }
            if try connection.publication(named: settings.publication) != nil {
                try perform("DROP PUBLICATION \(Quoting.identifier(settings.publication))", dryRun, &connection)
            } else {
                output.line("publication \(settings.publication): is not there")
            }
        } catch { throw CommandErrors.exit(error) }
    }

    /// Whether the slot is there, and free: the walsender of an agent that has just ended may hold it a moment longer.
    private func isThere(_ connection: inout PostgresConnection) throws(PostgresError) -> Bool {
        let deadline = clock.monotonic() &+ .seconds(3)
        while let slot = try connection.replicationSlot(named: settings.slot) {
            guard let holder = slot.activePID else { return true }
            guard clock.monotonic() < deadline else {
                throw PostgresError(
                    .slotInUse, "slot \(settings.slot) is in use by walsender \(holder): stop the agent first")
            }
            Wakeup().wait(milliseconds: 100)
        }
        return false
    }

    private func perform(
        _ sql: String, _ dryRun: Bool, _ connection: inout PostgresConnection
    ) throws(PostgresError) {
        output.line(sql + ";")
        if !dryRun { try connection.execute(sql) }
    }
}
