public import ChangeData

extension ReplicationConnection {
    /// Copies a logical slot into a temporary one of this connection, which alone may stream it and with which it goes. The
    /// source may be in use, and does not notice. Answers the copy's `confirmed_flush_lsn`, that of the source.
    ///
    /// Throws `duplicate` where a slot of that name is there, `undefined` where the source is not.
    public mutating func copySlot(
        _ source: String, toTemporary name: String, timeout: Duration = .seconds(60)
    ) throws(PostgresError) -> LSN {
        let names = "\(Quoting.literal(source)), \(Quoting.literal(name))"
        let rows = try command(
            "SELECT lsn FROM pg_catalog.pg_copy_logical_replication_slot(\(names), true)", during: .query,
            timeout: timeout)
        guard rows.count == 1, let confirmed = rows[0, "lsn"].flatMap({ LSN($0) }) else {
            throw PostgresError(.fatal, "slot \(source) has confirmed nothing yet: it cannot be copied")
        }
        return confirmed
    }
}
