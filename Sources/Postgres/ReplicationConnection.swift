public import ChangeData
import CPostgres

/// A connection to a walsender: replication commands, and one logical replication stream. Open it in the thread that uses it.
///
/// Its session settings make the text of every value lossless and independent of the database's and the role's settings.
public struct ReplicationConnection: ~Copyable {
    var session: Session
    var stream: StreamState

    /// Connects with `replication=database`. See `PostgresConnection.init` for the time-out.
    public init(
        connecting settings: ConnectionSettings, applicationName: String = "sluice", timeout: Duration = .seconds(10)
    ) throws(PostgresError) {
        var opened = try Session(settings, applicationName: applicationName, replication: true, timeout: timeout)
        let answer = Rows(try opened.run(Self.sessionSettings, during: .query, deadline: Deadline(after: timeout)))
        guard let process = answer.isEmpty ? nil : answer[0, "backend"].flatMap({ Int32($0) }) else {
            throw PostgresError(.fatal, "the server does not say which process it answers from")
        }
        walsender = Walsender(pid: process, startedAt: answer[0, "backend_start"].flatMap { Int64($0) })
        stream = StreamState(pacing: ReceivePacing(pauseNanoseconds: opened.pauseNanoseconds))
        session = opened
    }

    /// The server's version as `server_version_num`.
    public var serverVersion: Int { Int(PQserverVersion(session.connection)) }

    /// The walsender, which holds the slot while it streams. As the server says: a pooler in between tells its clients another
    /// process ID.
    public let walsender: Walsender

    /// The walsender's process ID.
    public var backendPID: Int32 { walsender.pid }

    /// The database that it is connected to, whatever named it: a service file, for one.
    public var database: String { PQdb(session.connection).map { String(cString: $0) } ?? "" }

    /// Whether the connection is encrypted.
    var usesTLS: Bool { PQsslInUse(session.connection) != 0 }

    /// How to make another connection to this one's own server, where `settings` name several.
    public func settingsOfServer(_ settings: ConnectionSettings) -> ConnectionSettings {
        func text(_ value: UnsafePointer<CChar>?) -> String { value.map { String(cString: $0) } ?? "" }
        return settings.narrowed(
            host: text(PQhost(session.connection)), address: text(PQhostaddr(session.connection)),
            port: text(PQport(session.connection)))
    }

    /// A setting that the server reports by itself.
    func parameterStatus(_ name: String) -> String? {
        PQparameterStatus(session.connection, name).map { String(cString: $0) }
    }

    /// The cluster, timeline and position of the server.
    public mutating func identifySystem(timeout: Duration = .seconds(30)) throws(PostgresError) -> SystemIdentity {
        let rows = try command("IDENTIFY_SYSTEM", during: .query, timeout: timeout)
        guard rows.count == 1, let system = rows[0, "systemid"],
            let timeline = rows[0, "timeline"].flatMap({ UInt32($0) }),
            let position = rows[0, "xlogpos"].flatMap({ LSN($0) })
        else { throw PostgresError(.fatal, "IDENTIFY_SYSTEM gave an answer that cannot be read") }
        return SystemIdentity(
            systemID: system, timeline: timeline, walPosition: position, database: rows[0, "dbname"])
    }

    /// The ancestors of a timeline, oldest first, each with the LSN at which it was left. The first timeline has none.
    public mutating func timelineHistory(
        _ timeline: UInt32, timeout: Duration = .seconds(30)
    ) throws(PostgresError) -> [TimelineSwitch] {
        guard timeline > 1 else { return [] }
        let rows = try command("TIMELINE_HISTORY \(timeline)", during: .query, timeout: timeout)
        guard rows.count == 1, let content = rows[0, "content"], let switches = TimelineSwitch.parse(content) else {
            throw PostgresError(.fatal, "TIMELINE_HISTORY \(timeline) gave an answer that cannot be read")
        }
        return switches
    }

    /// Creates a logical slot for `pgoutput` and returns its consistent point.
    ///
    /// The server waits for all transactions that are running to end. `whileWaiting` is called about once a second meanwhile; when it
    /// answers false, or at the deadline, the creation is cancelled (the slot is gone then) and `timedOut` thrown.
    /// `failover` needs PostgreSQL 17.
    public mutating func createLogicalSlot(
        _ name: String, temporary: Bool = false, failover: Bool = false, timeout: Duration,
        whileWaiting: (() -> Bool)? = nil
    ) throws(PostgresError) -> LSN {
        let version = serverVersion
        guard !failover || version >= 170_000 else {
            throw PostgresError(.fatal, "failover slots need PostgreSQL 17; this server is \(version / 10_000)")
        }
        let options =
            version >= 150_000 ? "(SNAPSHOT 'nothing'\(failover ? ", FAILOVER true" : ""))" : "NOEXPORT_SNAPSHOT"
        let sql = "CREATE_REPLICATION_SLOT \(Quoting.identifier(name))\(temporary ? " TEMPORARY" : "") "
        let rows = try command(
            sql + "LOGICAL pgoutput \(options)", during: .slotCommand, timeout: timeout, whileWaiting: whileWaiting)
        guard rows.count == 1, let point = rows[0, "consistent_point"].flatMap({ LSN($0) }) else {
            throw PostgresError(.fatal, "CREATE_REPLICATION_SLOT gave an answer that cannot be read")
        }
        return point
    }

    /// Drops a slot. With `waitForRelease` it waits, up to the deadline, while another connection holds the slot; else that is
    /// `slotInUse`. (A slot stays in use for a moment after its connection has gone.) `whileWaiting` is called about once a second; where
    /// it answers false the wait is ended.
    public mutating func dropSlot(
        _ name: String, waitForRelease: Bool = false, timeout: Duration = .seconds(30),
        whileWaiting: (() -> Bool)? = nil
    ) throws(PostgresError) {
        _ = try command(
            "DROP_REPLICATION_SLOT \(Quoting.identifier(name))\(waitForRelease ? " WAIT" : "")", during: .slotCommand,
            timeout: timeout, whileWaiting: whileWaiting)
    }

    mutating func command(
        _ sql: String, during activity: Activity, timeout: Duration, whileWaiting: (() -> Bool)? = nil
    ) throws(PostgresError) -> Rows {
        guard stream.phase == .idle else {
            throw PostgresError(.fatal, "a replication command was given while the connection streams")
        }
        return Rows(
            try session.run(
                sql, during: activity, deadline: Deadline(after: timeout), whileWaiting: whileWaiting))
    }

    /// `search_path` empty: names in values of types like regclass are then always qualified. No time-outs: a walsender that sends
    /// a transaction is in one of its own, for as long as the receiver takes. Its warnings come: see `StreamWarnings`.
    static let sessionSettings =
        "SELECT pg_catalog.pg_backend_pid() AS backend, (SELECT \(Walsender.startedAt("a"))"
        + " FROM pg_catalog.pg_stat_activity a WHERE a.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())"
        + " AS backend_start, "
        + [
            ("DateStyle", "ISO, MDY"), ("IntervalStyle", "postgres"), ("TimeZone", "UTC"), ("extra_float_digits", "3"),
            ("bytea_output", "hex"), ("lc_monetary", "C"), ("search_path", ""), ("statement_timeout", "0"),
            ("lock_timeout", "0"), ("idle_in_transaction_session_timeout", "0"), ("client_min_messages", "warning"),
            ("quote_all_identifiers", "off"),
        ].map { "pg_catalog.set_config('\($0.0)', '\($0.1)', false)" }.joined(separator: ", ")
        + ", " + PostgresConnection.noTransactionTimeout + ", " + PostgresConnection.encodingOfBytes
}

/// The answer to IDENTIFY_SYSTEM.
public struct SystemIdentity: Sendable, Equatable {
    /// The cluster's identifier, a 64-bit number in decimal.
    public let systemID: String
    /// The current timeline.
    public let timeline: UInt32
    /// How far the WAL is flushed.
    public let walPosition: LSN
    /// The database of the connection.
    public let database: String?
}

/// One line of a timeline history: an ancestor and where it was left.
public struct TimelineSwitch: Sendable, Equatable {
    /// The ancestor.
    public let timeline: UInt32
    /// The LSN at which the next timeline branched off.
    public let endLSN: LSN

    /// A switch.
    public init(timeline: UInt32, endLSN: LSN) {
        self.timeline = timeline
        self.endLSN = endLSN
    }

    /// Parses a history file: `<timeline> TAB <LSN> TAB <reason>`; lines that are empty or start with `#` are comments.
    /// Nil where a line is neither.
    package static func parse(_ content: String) -> [TimelineSwitch]? {
        var switches: [TimelineSwitch] = []
        for line in content.split(whereSeparator: \.isNewline) {
            let fields = line.split(whereSeparator: \.isWhitespace)
            guard let first = fields.first, !first.hasPrefix("#") else { continue }
            guard fields.count >= 2, let timeline = UInt32(first), let end = LSN(fields[1]) else { return nil }
            switches.append(TimelineSwitch(timeline: timeline, endLSN: end))
        }
        return switches
    }
}
