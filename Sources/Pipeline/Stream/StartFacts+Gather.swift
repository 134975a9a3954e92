import ChangeData
package import Postgres

extension StartFacts {
    /// Asks the server for all that `StartDecision` judges.
    /// - Throws: `PostgresError` where it cannot be asked.
    package static func gather(
        _ settings: StreamSettings
    ) throws(PostgresError) -> (facts: StartFacts, senderTimeout: Int) {
        var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
        let server = try connection.serverFacts()
        let position = try connection.serverPosition()
        let found = try connection.replicationSlot(named: settings.slot)
        var history: [UInt32: LSN] = [:]
        if server.timeline > 1 {
            var replication = try ReplicationConnection(connecting: settings.postgres, timeout: .seconds(10))
            for step in try replication.timelineHistory(server.timeline) { history[step.timeline] = step.endLSN }
        }
        let slot = found.map { slot in
            Slot(
                plugin: slot.plugin ?? slot.type, database: slot.database ?? "",
                confirmedFlush: slot.confirmedFlushLSN ?? LSN(0), restart: slot.restartLSN,
                walStatus: slot.walStatus ?? "reserved", invalidation: slot.invalidationReason,
                activePID: slot.activePID)
        }
        let facts = StartFacts(
            slotName: settings.slot, database: settings.postgres.database, systemID: server.systemID,
            timeline: server.timeline, history: history, walEnd: position.wal, slot: slot, options: settings.fingerprint
        )
        return (facts, server.walSenderTimeoutMilliseconds)
    }
}
