import Postgres
import Threads

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
            if try isThere(&connection, isForShow: dryRun) {
                let sql = "SELECT pg_catalog.pg_drop_replication_slot(\(Quoting.literal(settings.slot)))"
                output.line(sql + ";")
                if !dryRun { try connection.execute(sql) }
            } else {
                output.line("slot \(settings.slot): is not there")
            }
            if try connection.publication(named: settings.publication) != nil {
                try dropPublication(dryRun, &connection)
            } else {
                output.line("publication \(settings.publication): is not there")
            }
        } catch { throw CommandErrors.exit(error) }
    }

    /// One of another role stays, and is in nobody's way: `init` takes it as it is.
    private func dropPublication(_ dryRun: Bool, _ connection: inout PostgresConnection) throws(PostgresError) {
        let sql = "DROP PUBLICATION \(Quoting.identifier(settings.publication))"
        do throws(PostgresError) {
            output.line(sql + ";")
            guard !dryRun else { return }
            try Definition(sql: sql, settings: settings.postgres, output: output).run(on: &connection)
        } catch {
            guard error.kind == .permission else { throw error }
            output.line(
                "publication \(settings.publication) is another role's, and stays until that one gives: \(sql);")
        }
    }

    /// Whether the slot is there, and free: the walsender of an agent that has just ended may hold it a moment longer.
    /// - Parameter isForShow: it need not be free.
    private func isThere(
        _ connection: inout PostgresConnection, isForShow: Bool
    ) throws(PostgresError) -> Bool {
        let deadline = clock.monotonic() &+ .seconds(3)
        while let slot = try connection.replicationSlot(named: settings.slot) {
            guard !isForShow, let holder = slot.activePID else { return true }
            guard clock.monotonic() < deadline else {
                throw PostgresError(
                    .slotInUse, "slot \(settings.slot) is in use by walsender \(holder): stop the agent first")
            }
            Wakeup().wait(milliseconds: 100)
        }
        return false
    }
}
