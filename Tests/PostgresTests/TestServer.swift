import Glibc
import Testing

@testable import Postgres

/// The error that a body throws, or nil. (`#expect(throws:)` cannot lend a `~Copyable` connection to its closure.)
func failure(_ body: () throws(PostgresError) -> Void) -> PostgresError? {
    do throws(PostgresError) {
        try body()
        return nil
    } catch {
        return error
    }
}

/// The server under test: SLUICE_TEST_POSTGRES, a libpq connection string of a superuser on a server with `wal_level=logical`.
enum TestServer {
    static let url = getenv("SLUICE_TEST_POSTGRES").map { String(cString: $0) }

    static func settings(_ more: String = "") throws -> ConnectionSettings {
        try ConnectionSettings(url: "\(try #require(url)) \(more)")
    }

    static func connect(_ more: String = "") throws -> PostgresConnection {
        try connect(to: settings(more))
    }

    /// A connection that makes what it makes in `public`.
    static func connect(to settings: ConnectionSettings) throws -> PostgresConnection {
        var connection = try PostgresConnection(connecting: settings)
        try connection.execute("set search_path = public")
        return connection
    }

    /// A name that no other test uses.
    static func name(_ prefix: String) -> String { "\(prefix)_\(UInt32.random(in: 0 ... .max))" }
}

/// A server of our own, which a test may stop: from the programs in SLUICE_TEST_POSTGRES_BIN. As root it runs as `postgres`.
final class PrivateServer {
    static let bin = getenv("SLUICE_TEST_POSTGRES_BIN").map { String(cString: $0) }

    let directory: String
    private(set) var port = 0
    let hasTLS: Bool

    init() throws {
        let bin = try #require(Self.bin)
        directory = "/tmp/sluice-test-\(UInt32.random(in: 0 ... .max))"
        try #require(mkdir(directory, 0o755) == 0)
        let data = directory + "/data"
        if getuid() == 0 { _ = try Self.run(["chown", "postgres", directory]) }
        _ = try Self.asServer(["\(bin)/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"])
        var settings = """
            listen_addresses = '127.0.0.1'
            unix_socket_directories = '\(directory)'
            wal_level = logical
            fsync = off

            """
        hasTLS = try Self.run(["sh", "-c", "ldd \(bin)/postgres | grep -q libssl"]) == 0
        if hasTLS {
            let key = [
                "openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=localhost", "-out",
                data + "/server.crt", "-keyout", data + "/server.key",
            ]
            _ = try Self.asServer(key)
            settings += "ssl = on\n"
        }
        _ = try Self.asServer(["sh", "-c", "cat >> \(data)/postgresql.conf <<'EOF'\n\(settings)EOF"])
        // Another test's server may have the port.
        for _ in 0..<5 {
            port = Int.random(in: 20_000..<30_000)
            let start = ["\(bin)/pg_ctl", "-D", data, "-l", directory + "/log", "-o", "-p \(port)", "-w", "start"]
            if try Self.asServer(start) == 0 { return }
        }
        throw PostgresError(.fatal, "a server of our own does not start: see \(directory)/log")
    }

    deinit {
        _ = try? stop("immediate")
        _ = try? Self.run(["rm", "-rf", directory])
    }

    var tcp: String { "host=127.0.0.1 port=\(port) user=postgres dbname=postgres" }
    var unix: String { "host=\(directory) port=\(port) user=postgres dbname=postgres" }

    @discardableResult
    func stop(_ mode: String, wait: Bool = true) throws -> Int32 {
        let bin = try #require(Self.bin)
        return try Self.asServer(
            ["\(bin)/pg_ctl", "-D", directory + "/data", wait ? "-w" : "-W", "-t", "20", "-m", mode, "stop"])
    }

    private static func asServer(_ words: [String]) throws -> Int32 {
        try run(getuid() == 0 ? ["runuser", "-u", "postgres", "--"] + words : words)
    }

    /// Not Foundation's `Process`: its wait ends only when the server, which inherits a descriptor of it, has ended too.
    private static func run(_ words: [String]) throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var arguments = (["env", "-C", "/"] + words).map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        try #require(posix_spawn(&pid, "/usr/bin/env", &actions, nil, &arguments, environ) == 0)
        var status: Int32 = 0
        try #require(waitpid(pid, &status, 0) == pid)
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : -1
    }
}
