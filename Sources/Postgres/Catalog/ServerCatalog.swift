public import ChangeData

/// What a start-up check wants to know of a server and of our role there.
public struct ServerFacts: Sendable, Equatable {
    /// `server_version_num`.
    public let version: Int
    /// The cluster's identifier, in decimal.
    public let systemID: String
    /// The timeline that it writes; of a standby that of the last checkpoint.
    public let timeline: UInt32
    /// Whether it is a standby.
    public let isInRecovery: Bool
    /// `wal_level`; logical decoding needs `logical`.
    public let walLevel: String
    /// `max_replication_slots`.
    public let maxReplicationSlots: Int
    /// Slots that exist.
    public let usedReplicationSlots: Int
    /// `max_wal_senders`.
    public let maxWALSenders: Int
    /// Walsenders at work.
    public let usedWALSenders: Int
    /// `wal_sender_timeout` in milliseconds; 0 for none.
    public let walSenderTimeoutMilliseconds: Int
    /// `max_slot_wal_keep_size` in MiB; -1 for no bound.
    public let maxSlotWALKeepMebibytes: Int64
    /// `output_plugin_libraries`; nil where the server has no such setting, or hides it from our role (who needs
    /// `pg_read_all_settings` to see it).
    public let outputPluginLibraries: String?
    /// `synchronous_standby_names`: whom a commit waits for.
    public let synchronousStandbyNames: String
    /// The server's encoding.
    public let encoding: String
    /// Our role.
    public let role: String
    /// Its REPLICATION attribute.
    public let roleCanReplicate: Bool
    /// Whether it is a superuser.
    public let roleIsSuperuser: Bool
    /// Whether it may create publications in this database.
    public let canCreateInDatabase: Bool
}

/// Where a server is, now.
public struct ServerPosition: Sendable, Equatable {
    /// The end of its WAL: written on a primary, replayed on a standby.
    public let wal: LSN
    /// Whether it is a standby.
    public let isInRecovery: Bool
    /// Its clock, in microseconds since 1970.
    public let clock: Int64
    /// A time by which all that had been committed is before `wal`, in microseconds since 1970: the clock of a primary; of a standby,
    /// which may be behind, when the last transaction that it has replayed was committed. 0 where it has replayed none.
    public let committed: Int64
    /// The timeline that it writes; of a standby that of the last checkpoint.
    public let timeline: UInt32
}

extension PostgresConnection {
    /// Reads what a check needs. Asks for no privilege beyond CONNECT.
    public mutating func serverFacts() throws(PostgresError) -> ServerFacts {
        let rows = try query(
            """
            SELECT s.system_identifier::text AS system, pg_catalog.pg_is_in_recovery() AS recovery,
                   \(Self.timeline) AS timeline_id,
                   pg_catalog.current_setting('wal_level') AS wal_level,
                   pg_catalog.current_setting('max_replication_slots') AS max_slots,
                   (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots) AS slots,
                   pg_catalog.current_setting('max_wal_senders') AS max_senders,
                   (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication) AS senders,
                   (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout') AS timeout,
                   (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep,
                   (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'output_plugin_libraries') AS libraries,
                   pg_catalog.current_setting('synchronous_standby_names') AS synchronous,
                   pg_catalog.current_setting('server_encoding') AS encoding,
                   r.rolname, r.rolsuper,
                   -- On Amazon RDS nobody has the attribute; this role's members may replicate.
                   r.rolreplication OR EXISTS (
                       SELECT FROM pg_catalog.pg_roles m WHERE m.rolname = 'rds_replication'
                          AND pg_catalog.pg_has_role(r.oid, m.oid, 'MEMBER')) AS rolreplication,
                   pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS can_create
              FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() k, pg_catalog.pg_roles r
             WHERE r.rolname = CURRENT_USER
            """)
        guard !rows.isEmpty else { throw PostgresError(.fatal, "the server does not know the role of this session") }
        let row = CatalogRow(rows: rows, index: 0)
        return ServerFacts(
            version: serverVersion, systemID: try row.text("system"), timeline: try row.integer("timeline_id"),
            isInRecovery: try row.bool("recovery"), walLevel: try row.text("wal_level"),
            maxReplicationSlots: try row.integer("max_slots"), usedReplicationSlots: try row.integer("slots"),
            maxWALSenders: try row.integer("max_senders"), usedWALSenders: try row.integer("senders"),
            walSenderTimeoutMilliseconds: try row.integer("timeout"), maxSlotWALKeepMebibytes: try row.integer("keep"),
            outputPluginLibraries: row.optional("libraries"), synchronousStandbyNames: try row.text("synchronous"),
            encoding: try row.text("encoding"),
            role: try row.text("rolname"), roleCanReplicate: try row.bool("rolreplication"),
            roleIsSuperuser: try row.bool("rolsuper"), canCreateInDatabase: try row.bool("can_create"))
    }

    /// The end of the server's WAL and its clock. Also the probe for a server that shuts down: it throws `shuttingDown` then.
    public mutating func serverPosition(timeout: Duration = .seconds(10)) throws(PostgresError) -> ServerPosition {
        let rows = try query(
            """
            SELECT \(Self.walPosition) AS wal, pg_catalog.pg_is_in_recovery() AS recovery,
                   (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint AS clock,
                   (extract(epoch FROM CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_xact_replay_timestamp()
                                       ELSE pg_catalog.clock_timestamp() END) * 1000000)::bigint AS committed,
                   \(Self.timeline) AS timeline_id
              FROM pg_catalog.pg_control_checkpoint() k
            """, timeout: timeout)
        let row = CatalogRow(rows: rows, index: 0)
        guard let wal = row.lsn("wal") else { throw PostgresError(.fatal, "the server has no WAL position") }
        return ServerPosition(
            wal: wal, isInRecovery: try row.bool("recovery"), clock: try row.integer("clock"),
            committed: row.optionalInteger("committed") ?? 0, timeline: try row.integer("timeline_id"))
    }

    /// SQL of the timeline, over `pg_control_checkpoint() k`: right after a promotion the last checkpoint is still of the one before.
    private static let timeline = """
        CASE WHEN pg_catalog.pg_is_in_recovery() THEN k.timeline_id ELSE ('x' || pg_catalog.substr(
             pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer END
        """

    /// The value of a setting as `SHOW` prints it; nil where the server has no such setting. Throws `permission` for one that is
    /// hidden from our role.
    public mutating func setting(_ name: String) throws(PostgresError) -> String? {
        try query("SELECT pg_catalog.current_setting($1, true) AS value", [name])[0, "value"]
    }
}
