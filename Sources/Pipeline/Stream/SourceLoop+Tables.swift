import ChangeData
import Postgres

/// Tables that the stream announces. Not inlined into the loop that takes rows, as its end is not.
extension SourceLoop {
    @inline(never)
    mutating func describe(_ relation: Relation) throws(SessionFailure) {
        try askNext()
        let description = try tables.describe(relation, in: encoder?.openXID, settings: settings)
        if !description.isIgnored { try look(relation.oid) }
        do throws(ChangeDataError) {
            try encoder?.define(relation, as: description)
        } catch { throw failure(exit(for: error), at: nil) }
    }

    /// A row of a partition came, and not as its root's: nobody takes it.
    @inline(never)
    func tellOfPartition(_ table: TableName) {
        services.rowsNotSent(
            "rows came by a partition's own name, and are in no topic: sluice verify says whether any are missing",
            [
                "table": .init(table),
                "reason": .init("publish_via_partition_root was off, or it was attached later"),
            ])
    }

    /// A table that is published since the last look: known as such before its first row goes on, lest it be taken for one that came
    /// back where the agent ends before the next look.
    @inline(never)
    mutating func look(_ table: UInt32) throws(SessionFailure) {
        let before = services.state.published
        guard let before, let now = try tables.publication(having: table, unlike: before, settings) else { return }
        let returned = now.returned(since: before).filter { $0.matches(settings.tables) }
        guard returned.isEmpty else {
            let snapshot = services.state.snapshot
            throw .exit(
                StartRefusal.returned(
                    returned, now.name, stored: snapshot.stored, available: snapshot.serverLSN,
                    now: services.clock.wall() / 1000
                ).exit)
        }
        services.note(now, since: before, of: settings.tables)
    }
}
