import CPostgres

/// An ordinary blocking connection: queries with deadlines. Open it in the thread that uses it.
public struct PostgresConnection: ~Copyable {
    private var session: Session
    private var isStreaming = false
    private var limit: Deadline?

    /// Connects. `timeout` bounds the attempt, all hosts of the string together, unless the string has a `connect_timeout`. `limit`, where
    /// there is one, bounds it whatever the string has, and all questions that follow: see `limit(to:)`.
    public init(
        connecting settings: ConnectionSettings, applicationName: String = "sluice", timeout: Duration = .seconds(10),
        limit: Duration? = nil
    ) throws(PostgresError) {
        let end = limit.map { Deadline(after: $0) }
        var opened = try Session(
            settings, applicationName: applicationName, replication: false, timeout: timeout, limit: limit)
        // Before any question that such a server would not understand. 0: a pooler in between does not say it.
        let version = Int(PQserverVersion(opened.connection))
        guard version >= Self.oldestVersion || version == 0 else {
            throw PostgresError(
                .tooOld, "PostgreSQL \(version / 10_000) is too old: \(Self.oldestVersion / 10_000) is the oldest")
        }
        _ = try opened.run(
            Self.sessionSettings, during: .query, deadline: end?.capped(after: timeout) ?? Deadline(after: timeout))
        session = opened
        self.limit = end
    }

    /// The oldest server that is spoken to, as `server_version_num`.
    package static let oldestVersion = 140_000

    /// `search_path` empty: no operator that somebody has made in another schema is taken for PostgreSQL's own. No time-outs of
    /// the role's: each question has a deadline. Nor does its `default_transaction_read_only` hold
    /// here: `init` and `drop` write to the catalog; on a standby it changes nothing. `jit` off: questions to the catalog look dear to
    /// the planner and are not, and to compile one takes the server most of a second. Types are named alike, whoever asks.
    private static let sessionSettings =
        "SELECT "
        + [
            ("search_path", ""), ("statement_timeout", "0"), ("lock_timeout", "0"),
            ("default_transaction_read_only", "off"), ("jit", "off"), ("quote_all_identifiers", "off"),
        ]
        .map { "pg_catalog.set_config('\($0.0)', '\($0.1)', false)" }.joined(separator: ", ")
        + ", " + noTransactionTimeout + ", " + encodingOfBytes

    /// For a transaction that lasts as long as we take; the setting is 17's.
    static let noTransactionTimeout =
        "CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL"
        + " THEN pg_catalog.set_config('transaction_timeout', '0', false) END"

    /// A database in SQL_ASCII holds any bytes, also as names, and its server refuses to send what is not UTF-8 to a client that asked
    /// for that: one table of somebody else's would keep us from the whole catalog. It is asked for the bytes as they are.
    static let encodingOfBytes =
        "CASE WHEN pg_catalog.current_setting('server_encoding') OPERATOR(pg_catalog.=) 'SQL_ASCII'"
        + " THEN pg_catalog.set_config('client_encoding', 'SQL_ASCII', false) END"

    /// The server's version as `server_version_num`: 150004, 180000.
    public var serverVersion: Int { Int(PQserverVersion(session.connection)) }

    /// The process ID of the server's backend.
    public var backendPID: Int32 { PQbackendPID(session.connection) }

    /// The database that it is connected to, whatever named it: a service file, for one.
    public var database: String { PQdb(session.connection).map { String(cString: $0) } ?? "" }

    /// Whether the connection is encrypted.
    var usesTLS: Bool { PQsslInUse(session.connection) != 0 }

    /// A setting that the server reports by itself, such as `server_version` or `in_hot_standby`.
    func parameterStatus(_ name: String) -> String? {
        PQparameterStatus(session.connection, name).map { String(cString: $0) }
    }

    /// All questions from now on have this long together, and none more than its own time.
    public mutating func limit(to duration: Duration) { limit = Deadline(after: duration) }

    /// Runs one statement and returns all its rows. `$1`... stand for the parameters, all sent as text. Without parameters several
    /// statements may be given, separated by semicolons: one transaction, of which the last result is returned.
    ///
    /// At the deadline the statement is cancelled and `timedOut` thrown; the connection stays usable if the server obeyed.
    public mutating func query(
        _ sql: String, _ parameters: [String?] = [], timeout: Duration = .seconds(30)
    ) throws(PostgresError) -> Rows {
        endRows()
        let deadline = limit?.capped(after: timeout) ?? Deadline(after: timeout)
        return Rows(try session.run(sql, parameters, during: .query, deadline: deadline))
    }

    /// Runs one or more statements for their effect.
    public mutating func execute(_ sql: String, timeout: Duration = .seconds(30)) throws(PostgresError) {
        _ = try query(sql, timeout: timeout)
    }

    /// Runs statements that change what the database has, in one transaction and with the role's own search path: event triggers of
    /// others run within, and may name their tables without a schema, as they do when the role gives the statement itself.
    ///
    /// Only for statements whose names are all qualified, and that call nothing: whatever they left open would be looked for there.
    /// - Parameter whileWaiting: called about once a second.
    public mutating func define(
        _ sql: String, timeout: Duration = .seconds(30), whileWaiting: (() -> Void)? = nil
    ) throws(PostgresError) {
        endRows()
        _ = try session.run(
            "SET LOCAL search_path TO DEFAULT; \(sql)", during: .definition, deadline: Deadline(after: timeout),
            whileWaiting: {
                whileWaiting?()
                return true
            })
    }

    /// Starts a query whose rows are read one by one with `nextRow`, in bounded memory.
    public mutating func startRows(_ sql: String, _ parameters: [String?] = []) throws(PostgresError) {
        endRows()
        try session.send(sql, parameters, during: .query)
        isStreaming = true
        guard PQsetSingleRowMode(session.connection) == 1 else { throw session.error(during: .query) }
    }

    /// The next row of the query begun with `startRows`; nil after the last one. `timeout` bounds the wait for this row; past it the
    /// query is cancelled.
    public mutating func nextRow(timeout: Duration = .seconds(60)) throws(PostgresError) -> Row? {
        guard isStreaming else { return nil }
        do throws(PostgresError) {
            let deadline = Deadline(after: timeout)
            while let result = try session.nextResult(during: .query, deadline: deadline) {
                if result.status == PGRES_SINGLE_TUPLE { return Row(result) }
                if result.isError { throw session.error(result.pointer, during: .query) }
            }
            isStreaming = false
            return nil
        } catch {
            endRows()
            throw error
        }
    }

    /// Ends a query begun with `startRows` before its last row; without one it does nothing.
    public mutating func endRows() {
        guard isStreaming else { return }
        isStreaming = false
        session.abandon()
    }
}
