import ChangeData
import Postgres
import Telemetry

/// Looks at the slot and the publication from outside, every few seconds, for the metrics and for losses that the stream
/// itself cannot see: a table that was dropped and made again is no longer published, and no row ever comes again (trap 60).
///
/// Each look has a connection of its own: one that stays open would hold up a smart shutdown of the server.
package struct SourceWatch {
    private let settings: StreamSettings
    private let services: StreamServices
    private static let pause = 5000

    package init(settings: StreamSettings, services: StreamServices) {
        self.settings = settings
        self.services = services
    }

    /// Looks until a stop.
    package func run() {
        let wakeup = Wakeup()
        services.stop.register(wakeup)
        defer { services.stop.unregister(wakeup) }
        var told: Set<String> = []
        while !services.stop.isRequested {
            do throws(PostgresError) {
                let missing = try look()
                for table in missing where services.state.snapshot.phase == .streaming && told.insert(table).inserted {
                    services.log.error(
                        "a table is no longer published: its changes are lost from now on",
                        ["table": .init(table), "publication": .init(settings.publication)])
                    services.state.failed("postgres", kind: "unpublished_table")
                }
                told.formIntersection(missing)
                services.state.update { $0.unpublished = missing }
            } catch {
                services.log.debug("cannot look at the slot", ["error": .init(error)])
            }
            wakeup.wait(milliseconds: Self.pause)
        }
    }

    /// Answers the tables that the configuration wants and the publication does not have.
    private func look() throws(PostgresError) -> [String] {
        var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(5))
        let slot = try connection.replicationSlot(named: settings.slot)
        let position = try connection.serverPosition()
        services.state.update { snapshot in
            snapshot.serverLSN = max(snapshot.serverLSN, position.wal)
            snapshot.restartLSN = slot?.restartLSN ?? LSN(0)
            snapshot.retainedWAL = slot?.retainedBytes.map { UInt64(clamping: $0) }
            snapshot.safeWAL = slot?.safeWALSize
            if let confirmed = slot?.confirmedFlushLSN { snapshot.confirmedLSN = max(snapshot.confirmedLSN, confirmed) }
        }
        let patterns = settings.tables.compactMap { TablePattern($0) }
        let wanted = try connection.tables(matching: patterns)
        let publication = try connection.publication(named: settings.publication)
        return wanted.filter { table in
            publication?.tables.contains { $0.oid == table.oid || table.partitionLeaves.contains($0.oid) } != true
        }.map { "\($0.schema).\($0.name)" }
    }
}
