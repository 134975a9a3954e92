public import ChangeData

extension ReplicationConnection {
    /// Makes a temporary slot and exports the snapshot that shows exactly what was committed before its consistent point.
    /// The snapshot can be imported as long as this connection lives and runs no other command. Needs a free slot, and waits,
    /// as every slot does, for the transactions that are running.
    public mutating func exportSnapshot(
        slot name: String, timeout: Duration, whileWaiting: (() -> Bool)? = nil
    ) throws(PostgresError) -> (snapshot: String, consistentPoint: LSN) {
        let option = serverVersion >= 150_000 ? "(SNAPSHOT 'export')" : "EXPORT_SNAPSHOT"
        let rows = try command(
            "CREATE_REPLICATION_SLOT \(Quoting.identifier(name)) TEMPORARY LOGICAL pgoutput \(option)",
            during: .slotCommand, timeout: timeout, whileWaiting: whileWaiting)
        guard rows.count == 1, let point = rows[0, "consistent_point"].flatMap({ LSN($0) }),
            let snapshot = rows[0, "snapshot_name"]
        else { throw PostgresError(.fatal, "CREATE_REPLICATION_SLOT exported no snapshot") }
        return (snapshot, point)
    }
}

extension PostgresConnection {
    /// Begins a transaction that sees what an exported snapshot shows, with the session settings of a replication connection,
    /// so that values have the same text.
    public mutating func begin(snapshot: String) throws(PostgresError) {
        try execute(ReplicationConnection.sessionSettings)
        try execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT \(Quoting.literal(snapshot))")
    }
}
