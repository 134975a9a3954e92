public import ChangeData

/// A row of `pg_replication_slots`, with who holds the slot.
public struct ReplicationSlot: Sendable, Equatable {
    /// The slot's name.
    public let name: String
    /// The output plugin; nil for a physical slot.
    public let plugin: String?
    /// `logical` or `physical`.
    public let type: String
    /// The database; nil for a physical slot.
    public let database: String?
    /// Whether it goes with its connection.
    public let isTemporary: Bool
    /// The walsender that holds it; nil when nobody does.
    public let activePID: Int32?
    /// When the holder's process began, in microseconds since 1970, where our role may see it.
    public let activeSince: Int64?
    /// The holder's application name, where our role may see it.
    public let activeApplication: String?
    /// The holder's address, where our role may see it; nil for a unix socket.
    public let activeAddress: String?
    /// The oldest WAL that the server keeps for it.
    public let restartLSN: LSN?
    /// Up to here, exclusive, its consumer has confirmed.
    public let confirmedFlushLSN: LSN?
    /// `reserved`, `extended`, `unreserved` or `lost`; nil before the first reservation.
    public let walStatus: String?
    /// Bytes that can still be written before the slot may be lost; nil without `max_slot_wal_keep_size`.
    public let safeWALSize: Int64?
    /// WAL kept because of this slot, in bytes.
    public let retainedBytes: Int64?
    /// Why the server has invalidated it (PostgreSQL 16: only conflicts; 14 and 15: see `walStatus`).
    public let invalidationReason: String?
    /// Whether prepared transactions are decoded when they are prepared.
    public let isTwoPhase: Bool
    /// Whether it is synchronised to standbys (17 and later).
    public let isFailover: Bool
    /// Whether it is a synchronised copy, of no use before promotion (17 and later).
    public let isSynced: Bool

    /// The walsender that holds it.
    public var holder: Walsender? { activePID.map { Walsender(pid: $0, startedAt: activeSince) } }

    /// Whether nothing can be read from it any more.
    public var isInvalidated: Bool { walStatus == "lost" || invalidationReason != nil }
}

/// A transaction for whose end `CREATE_REPLICATION_SLOT` waits.
public struct RunningTransaction: Sendable, Equatable {
    /// Its backend; nil for a prepared transaction.
    public let pid: Int32?
    /// Its age in seconds.
    public let ageSeconds: Int64
    /// What the server knows of it: user, application and state, or the identifier of a prepared transaction.
    public let description: String
}

extension PostgresConnection {
    /// The slot of a name, or nil.
    public mutating func replicationSlot(named name: String) throws(PostgresError) -> ReplicationSlot? {
        // Columns that newer servers added are read through JSON, so that one query serves all versions.
        let rows = try query(
            """
            SELECT s.slot_name, s.plugin, s.slot_type, s.database, s.temporary, s.active_pid, a.application_name,
                   \(Walsender.startedAt("a")) AS active_since,
                   pg_catalog.host(a.client_addr) AS client_addr, s.restart_lsn, s.confirmed_flush_lsn, s.wal_status,
                   s.safe_wal_size, coalesce(s.two_phase, false) AS two_phase,
                   pg_catalog.pg_wal_lsn_diff(\(Self.walPosition), s.restart_lsn)::bigint AS retained,
                   coalesce(j ->> 'invalidation_reason',
                            CASE WHEN j ->> 'conflicting' = 'true' THEN 'conflict' END) AS invalidation_reason,
                   coalesce((j ->> 'failover')::boolean, false) AS failover,
                   coalesce((j ->> 'synced')::boolean, false) AS synced
              FROM pg_catalog.pg_replication_slots s
              LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
             CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(s) AS j) x
             WHERE s.slot_name = $1
            """, [name])
        return try rows.map { row throws(PostgresError) in
            ReplicationSlot(
                name: try row.text("slot_name"), plugin: row.optional("plugin"), type: try row.text("slot_type"),
                database: row.optional("database"), isTemporary: try row.bool("temporary"),
                activePID: row.optionalInteger("active_pid"),
                activeSince: row.optionalInteger("active_since"), activeApplication: row.optional("application_name"),
                activeAddress: row.optional("client_addr"), restartLSN: row.lsn("restart_lsn"),
                confirmedFlushLSN: row.lsn("confirmed_flush_lsn"), walStatus: row.optional("wal_status"),
                safeWALSize: row.optionalInteger("safe_wal_size"), retainedBytes: row.optionalInteger("retained"),
                invalidationReason: row.optional("invalidation_reason"), isTwoPhase: try row.bool("two_phase"),
                isFailover: try row.bool("failover"), isSynced: try row.bool("synced"))
        }.first
    }

    /// The oldest transactions with an ID, those that a slot's creation waits for; at most `limit`.
    public mutating func runningTransactions(limit: Int = 5) throws(PostgresError) -> [RunningTransaction] {
        let rows = try query(
            """
            SELECT pid, greatest(0, extract(epoch FROM pg_catalog.now() - since))::bigint AS age, what
              FROM (SELECT pid, xact_start AS since, pg_catalog.concat_ws(' ', 'user', usename, 'application',
                           nullif(application_name, ''), state) AS what
                      FROM pg_catalog.pg_stat_activity
                     WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
                     UNION ALL
                    SELECT NULL, prepared, 'prepared transaction ' || gid FROM pg_catalog.pg_prepared_xacts) t
             ORDER BY since LIMIT $1::int
            """, [String(limit)])
        return try rows.map { row throws(PostgresError) in
            RunningTransaction(
                pid: row.optionalInteger("pid"), ageSeconds: row.optionalInteger("age") ?? 0,
                description: try row.text("what"))
        }
    }

    /// The transactions that have written to these tables and are not over, each as `pid N` or `prepared N`.
    public mutating func writers(of tables: some Sequence<UInt32>) throws(PostgresError) -> Set<String> {
        // Who writes to a table keeps its lock to the end of the transaction; of a prepared one there is no process.
        let rows = try query(
            """
            SELECT DISTINCT coalesce('pid ' || l.pid, 'prepared ' || l.virtualtransaction) || ' ' || l.virtualtransaction AS writer
              FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
             WHERE d.datname = pg_catalog.current_database() AND l.locktype = 'relation' AND l.granted
               AND l.relation = ANY ($1::oid[]) AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                                                               'AccessExclusiveLock')
               AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
            """, [arrayLiteral(tables)])
        return Set(try rows.map { row throws(PostgresError) in try row.text("writer") })
    }

    /// SQL for the position up to which this server has WAL: a standby has no insert position.
    static let walPosition =
        "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()"
        + " ELSE pg_catalog.pg_current_wal_lsn() END"
}
