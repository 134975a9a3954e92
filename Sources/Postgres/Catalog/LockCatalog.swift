/// What a backend waits for, and who keeps it from that.
public struct LockWait: Sendable, Equatable, CustomStringConvertible {
    /// Somebody who has the lock, or is before us in its queue.
    public struct Blocker: Sendable, Equatable {
        /// Its backend; nil for a prepared transaction.
        public let pid: Int32?
        /// Its user, application and state, where our role may see them. Never its query, which may hold a row.
        public let description: String
        /// For how long its transaction has been open, where our role may see that.
        public let seconds: Int64?
    }

    /// The lock that is waited for, such as `ShareUpdateExclusiveLock on public.t`; nil where it is known no more.
    public let lock: String?
    /// Who is in the way.
    public let blockers: [Blocker]

    /// All of it on one line.
    public var description: String {
        let shown = blockers.prefix(5).map { blocker in
            let who = blocker.pid.map { "pid \($0)" } ?? "a prepared transaction"
            let more = [blocker.description, blocker.seconds.map { "its transaction open for \($0) s" } ?? ""]
            let known = more.filter { !$0.isEmpty }.joined(separator: ", ")
            return known.isEmpty ? who : "\(who) (\(known))"
        }
        return "it waits for \(lock ?? "a lock"), behind " + shown.joined(separator: ", ")
            + (blockers.count > 5 ? ", ..." : "")
    }
}

extension PostgresConnection {
    /// What another backend waits for at the moment; nil where it waits for nobody.
    public mutating func lockWait(of pid: Int32, timeout: Duration = .seconds(2)) throws(PostgresError) -> LockWait? {
        let rows = try query(
            """
            SELECT nullif(b.pid, 0) AS pid, pg_catalog.concat_ws(', ', 'user ' || a.usename,
                   'application ' || nullif(a.application_name, ''), a.state) AS what,
                   CASE WHEN a.xact_start IS NOT NULL
                        THEN greatest(0, extract(epoch FROM pg_catalog.now() - a.xact_start))::bigint END AS age,
                   (SELECT l.mode || coalesce(' on ' || l.relation::regclass::text, '') FROM pg_catalog.pg_locks l
                     WHERE l.pid = $1::int AND NOT l.granted LIMIT 1) AS lock
              FROM (SELECT DISTINCT pid FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids($1::int)) u (pid)) b
              LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
             ORDER BY a.xact_start, b.pid
            """, [String(pid)], timeout: timeout)
        let blockers = try rows.map { row throws(PostgresError) in
            LockWait.Blocker(
                pid: row.optionalInteger("pid"), description: row.optional("what") ?? "",
                seconds: row.optionalInteger("age"))
        }
        return blockers.isEmpty ? nil : LockWait(lock: rows[0, "lock"], blockers: blockers)
    }
}
