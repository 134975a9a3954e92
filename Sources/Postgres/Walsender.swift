/// One walsender of a server.
///
/// Its process ID alone does not tell it from all others: in a container the server's are small, and after each restart it gives
/// the same again.
public struct Walsender: Sendable, Hashable {
    /// The process.
    public let pid: Int32
    /// When the process began, by the server's clock in microseconds since 1970; nil where our role may not see it.
    public let startedAt: Int64?

    /// A walsender.
    public init(pid: Int32, startedAt: Int64?) {
        self.pid = pid
        self.startedAt = startedAt
    }

    /// SQL of `startedAt`, over a row of `pg_stat_activity`; whatever operators the search path has.
    static func startedAt(_ row: String) -> String {
        "(extract(epoch FROM \(row).backend_start) OPERATOR(pg_catalog.*) 1000000)::bigint"
    }
}

extension PostgresConnection {
    /// Who holds a slot; nil where nobody does, or a process that has just ended.
    public mutating func holder(
        ofSlot name: String, timeout: Duration = .seconds(30)
    ) throws(PostgresError) -> Walsender? {
        let rows = try query(
            """
            SELECT a.pid, \(Walsender.startedAt("a")) AS started
              FROM pg_catalog.pg_replication_slots s JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
             WHERE s.slot_name = $1
            """, [name], timeout: timeout)
        return try rows.map { row throws(PostgresError) in
            Walsender(pid: try row.integer("pid"), startedAt: row.optionalInteger("started"))
        }.first
    }

    /// Ends a walsender: that one, and no other to which the server has given its process ID since.
    public mutating func terminate(
        _ walsender: Walsender, timeout: Duration = .seconds(30)
    ) throws(PostgresError) {
        guard let startedAt = walsender.startedAt else { return }
        _ = try query(
            """
            SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
             WHERE a.pid = $1::int AND \(Walsender.startedAt("a")) = $2::bigint
            """, ["\(walsender.pid)", "\(startedAt)"], timeout: timeout)
    }
}
