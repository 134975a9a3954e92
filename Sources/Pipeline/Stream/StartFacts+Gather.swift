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
        var timeline = server.timeline
        if server.timeline > 1 || server.isInRecovery {
            var replication = try ReplicationConnection(connecting: settings.postgres, timeout: .seconds(10))
            // What a standby's catalog says is that of its last checkpoint.
            if server.isInRecovery { timeline = try replication.identifySystem().timeline }
            for step in try replication.timelineHistory(timeline) { history[step.timeline] = step.endLSN }
        }
        let slot = found.map { slot in
            var facts = Slot(
                plugin: slot.plugin ?? slot.type, database: slot.database ?? "",
                confirmedFlush: slot.confirmedFlushLSN ?? LSN(0), restart: slot.restartLSN,
                walStatus: slot.walStatus ?? "reserved", invalidation: slot.invalidationReason,
                holder: slot.holder)
            facts.isTwoPhase = slot.isTwoPhase
            return facts
        }
        let patterns = settings.tables
        let publication = try connection.publication(named: settings.publication)
        // A glob may match tables that were made after `init`, which nobody has promised anything for.
        let names = patterns.filter { !$0.isGlob }
        let named = try connection.tables(matching: names)
        var facts = StartFacts(
            slotName: settings.slot, database: connection.database, systemID: server.systemID,
            timeline: timeline, history: history, walEnd: position.wal, slot: slot,
            options: settings.fingerprint,
            publication: publication?.name, faults: publication?.faults(of: named, patterns: patterns) ?? [],
            clock: position.clock)
        facts.publicationOID = publication?.oid ?? 0
        facts.published = publication
        facts.isInRecovery = server.isInRecovery
        facts.missing = names.absent(from: named).map(\.description)
        let leaves = Set(named.flatMap(\.partitionLeaves))
        facts.strangers = (publication?.tables ?? []).filter {
            ($0.isNamed || $0.isRootNamed) && !$0.matches(patterns) && !leaves.contains($0.oid)
        }
        .map(\.qualifiedName)
        return (facts, server.walSenderTimeoutMilliseconds)
    }

    /// The timeline that a standby replays; nil where it cannot be asked for.
    static func timeline(_ settings: StreamSettings) -> UInt32? {
        do throws(PostgresError) {
            var replication = try ReplicationConnection(connecting: settings.postgres, timeout: .seconds(5))
            return try replication.identifySystem(timeout: .seconds(5)).timeline
        } catch { return nil }
    }
}
