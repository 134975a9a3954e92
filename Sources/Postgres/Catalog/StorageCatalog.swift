extension PostgresConnection {
    /// The files that a table's rows are in (`pg_class.relfilenode`), by OID: of the table, or of each leaf below a partitioned one.
    ///
    /// TRUNCATE, and every ALTER TABLE that writes the table anew, put another file in its place at once, also for snapshots that
    /// are older: those find no row in it. This is what the transaction's own snapshot shows.
    public mutating func storage(of oid: UInt32) throws(PostgresError) -> [UInt32: UInt32] {
        let rows = try query(
            """
            WITH RECURSIVE tree (oid, kind) AS (
                SELECT oid, relkind FROM pg_catalog.pg_class WHERE oid = $1::oid
                 UNION ALL
                SELECT c.oid, c.relkind FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
                  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE t.kind = 'p')
            SELECT c.oid, c.relfilenode FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid WHERE t.kind <> 'p'
            """, [String(oid)])
        let found = try rows.map { row throws(PostgresError) in
            (try row.integer("oid") as UInt32, try row.integer("relfilenode") as UInt32)
        }
        return Dictionary(found, uniquingKeysWith: { $1 })
    }
}
