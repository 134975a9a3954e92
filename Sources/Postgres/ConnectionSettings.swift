import CPostgres

/// Where and as whom to connect: a parsed libpq connection string. It prints without secrets.
///
/// What the string leaves out comes from the `PG*` variables, the password file and libpq's defaults, as with `psql`.
public struct ConnectionSettings: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The database's name, for messages.
    public let database: String
    /// The host's name or address, the socket's directory, or a list of them, for messages.
    public private(set) var host: String
    /// The port or list of ports, for messages.
    public private(set) var port: String
    /// The role's name, for messages.
    public let user: String

    /// The keywords of the string, password included.
    private(set) var keywords: [String: String]
    /// The password as it is by now, asked for at each new connection; nil: it is the one that was given.
    public var renewedPassword: (@Sendable () -> String?)?

    /// Parses a libpq URI or `key=value` string. `password` takes the place of one in the string.
    ///
    /// Throws `configuration`; never with a text that holds the string, since libpq's own messages may quote a piece of the password.
    public init(url: String, password: String? = nil) throws(PostgresError) {
        let advice = "use postgresql://user@host:port/database, with / # @ : in names and passwords percent-encoded"
        guard !url.utf8.contains(0), password?.utf8.contains(0) != true else {
            throw PostgresError(.configuration, "the PostgreSQL connection string holds a zero byte")
        }
        guard var parsed = Self.options(PQconninfoParse(url, nil)) else {
            throw PostgresError(.configuration, "the PostgreSQL connection string cannot be parsed", hint: advice)
        }
        if let password { parsed["password"] = password }
        let ports = (parsed["port"] ?? "").split(separator: ",")
        guard ports.allSatisfy({ (1...65535).contains(Int($0) ?? 0) }) else {
            throw PostgresError(
                .configuration, "the PostgreSQL connection string has a port that is no number", hint: advice)
        }
        // A password with a bare / or @ ends up, in part, as host or database, and from there in libpq's messages.
        let isURI = url.hasPrefix("postgresql://") || url.hasPrefix("postgres://")
        if isURI, [parsed["host"], parsed["dbname"]].contains(where: { $0?.contains("@") == true }) {
            throw PostgresError(
                .configuration, "the PostgreSQL connection string has an @ in its host or database", hint: advice)
        }
        keywords = parsed
        let defaults = Self.options(PQconndefaults()) ?? [:]
        let user = parsed["user"] ?? defaults["user"] ?? ""
        self.user = user
        host = parsed["host"] ?? parsed["hostaddr"] ?? defaults["host"] ?? defaults["hostaddr"] ?? "local socket"
        port = parsed["port"] ?? defaults["port"] ?? "5432"
        database = parsed["dbname"] ?? defaults["dbname"] ?? user
    }

    /// `user@host:port/database`.
    public var description: String { "\(user)@\(host):\(port)/\(database)" }
    /// The same as `description`.
    public var debugDescription: String { description }
    /// Shows what `description` shows, and nothing else.
    public var customMirror: Mirror {
        Mirror(self, children: ["user": user, "host": host, "port": port, "database": database])
    }

    /// Copies libpq's option array and frees it.
    private static func options(_ array: UnsafeMutablePointer<PQconninfoOption>?) -> [String: String]? {
        guard let array else { return nil }
        defer { PQconninfoFree(array) }
        var values: [String: String] = [:]
        var option = array
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { values[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        return values
    }
}

extension ConnectionSettings {
    /// One set of libpq keywords for each host of the string, to be tried in turn, each with its share of the time: libpq's
    /// asynchronous connect has no time-out of its own and would stay with a first host that does not answer.
    func attempts(applicationName: String, replication: Bool) -> [[String: String]] {
        var common = keywords
        if let password = renewedPassword?(), !password.utf8.contains(0) { common["password"] = password }
        for (key, value) in Self.tcpDefaults where common[key] == nil { common[key] = value }
        common["client_encoding"] = "UTF8"
        if common["application_name"] == nil { common["application_name"] = applicationName }
        common["replication"] = replication ? "database" : nil
        let lists = ["host", "hostaddr", "port"].compactMap { key in
            common[key].map { (key, $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)) }
        }
        let count = lists.map(\.1.count).max() ?? 1
        // `prefer-standby` looks at all hosts before it takes a primary: only libpq can do that.
        guard count > 1, common["target_session_attrs"] != "prefer-standby",
            lists.allSatisfy({ $0.1.count == count || $0.1.count == 1 })
        else { return [common] }
        return (0..<count).map { index in
            var one = common
            for (key, values) in lists { one[key] = values[values.count == 1 ? 0 : index] }
            return one
        }
    }

    /// Of all hosts of the string, and all addresses of a host's name, the one that a connection has got, whatever it is now.
    /// - Parameter address: as libpq tells it; empty for a unix socket.
    package func narrowed(host: String, address: String, port: String) -> ConnectionSettings {
        var one = self
        (one.host, one.port) = (host, port)
        one.keywords["host"] = host
        // Of a link-local address it does not tell the interface.
        one.keywords["hostaddr"] = address.isEmpty || address.hasPrefix("fe80:") ? nil : address
        one.keywords["port"] = port
        one.keywords["target_session_attrs"] = "any"
        return one
    }

    /// The user's own `application_name`, which goes before the caller's.
    public var applicationName: String? { keywords["application_name"] }

    /// The user's own `connect_timeout`, which goes before the caller's.
    var connectTimeout: Duration? {
        keywords["connect_timeout"].flatMap { Int64($0) }.flatMap { $0 > 0 ? .seconds($0) : nil }
    }

    /// A lost host is noticed within about a minute on an idle connection, and within half of one on a busy one.
    private static let tcpDefaults = [
        "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "30000",
    ]
}
