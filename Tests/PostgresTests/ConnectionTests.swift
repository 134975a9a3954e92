import Glibc
import Testing

@testable import Postgres

@Suite(.enabled(if: TestServer.url != nil, "SLUICE_TEST_POSTGRES is not set"))
struct ConnectionTests {
    /// By default a server compiles each of our questions to its catalog, most of a second of a processor every five seconds.
    @Test func questionsAreNotCompiled() throws {
        var sql = try TestServer.connect()
        #expect(try sql.query("show jit").values == [["off"]])
    }

    @Test func queries() throws {
        var connection = try TestServer.connect()
        let rows = try connection.query("select $1::text as a, null as b, 'é' as c", ["x'y"])
        #expect(rows.columns == ["a", "b", "c"] && rows.values == [["x'y", nil, "é"]] && rows.tag == "SELECT 1")
        #expect(rows[0, "c"] == "é" && rows[0, "nosuch"] == nil)
        try connection.execute("create temp table t (i int); insert into t select generate_series(1, 3)")
        #expect(try connection.query("select count(*) from t").values == [["3"]])
        #expect(try connection.query("insert into t values (9)").tag == "INSERT 0 1")
        #expect(connection.serverVersion >= 140_000)
        #expect(try connection.query("select pg_backend_pid()").values == [["\(connection.backendPID)"]])
        #expect(connection.parameterStatus("client_encoding") == "UTF8")
        let name = try connection.query("select current_setting('application_name')").values
        #expect(name == [["sluice"]])
    }

    @Test func errorsAreClassifiedAndLeaveTheConnectionUsable() throws {
        var connection = try TestServer.connect()
        let missing = failure { () throws(PostgresError) in _ = try connection.query("select * from nosuch") }
        #expect(missing?.kind == .undefined && missing?.sqlState == "42P01")
        let second = failure { () throws(PostgresError) in try connection.execute("select 1; select 1/0; select 2") }
        #expect(second?.sqlState == "22012")
        let zero = failure { () throws(PostgresError) in _ = try connection.query("select $1", ["a\0b"]) }
        #expect(zero?.kind == .fatal)
        #expect(try connection.query("select 1").values == [["1"]])
    }

    @Test func aHangingQueryEndsAtItsDeadline() throws {
        var connection = try TestServer.connect()
        let started = ContinuousClock.now
        let error = failure { () throws(PostgresError) in
            _ = try connection.query("select pg_sleep(30)", timeout: .milliseconds(300))
        }
        #expect(error?.kind == .timedOut)
        #expect(ContinuousClock.now - started < .seconds(3))
        #expect(try connection.query("select 1").values == [["1"]])
    }

    @Test func questionsTogetherEndAtTheirLimit() throws {
        var connection = try PostgresConnection(connecting: TestServer.settings(), limit: .seconds(1))
        let started = ContinuousClock.now
        let error = failure { () throws(PostgresError) in
            for _ in 0..<4 { _ = try connection.query("select pg_catalog.pg_sleep(0.4)") }
        }
        #expect(error?.kind == .timedOut && ContinuousClock.now - started < .seconds(2))
        connection.limit(to: .seconds(10))
        #expect(try connection.query("select 1").values == [["1"]])
    }

    /// Under the address sanitizer this wants `quarantine_size_mb=8`: freed memory counts as resident there.
    @Test func streamsRowsInBoundedMemory() throws {
        var connection = try TestServer.connect()
        let before = residentKilobytes()
        try connection.startRows("select i, null, repeat('x', 1000) from generate_series(1, $1::int) i", ["200000"])
        var (count, sum, bytes) = (0, 0, 0)
        while let row = try connection.nextRow() {
            count += 1
            sum += Int(row.text(0) ?? "") ?? 0
            #expect(row.bytes(1) == nil && row.count == 3)
            bytes += row.bytes(2)?.count ?? 0
        }
        #expect(count == 200_000 && sum == 200_000 * 200_001 / 2 && bytes == 200_000_000)
        #expect(residentKilobytes() - before < 30_000)
        #expect(try connection.query("select 1").values == [["1"]])
    }

    @Test func aStreamMayEndEarlyOrFail() throws {
        var connection = try TestServer.connect()
        try connection.startRows("select generate_series(1, 100000000)")
        #expect(try connection.nextRow()?.text(0) == "1")
        #expect(try connection.query("select 2").values == [["2"]])
        try connection.startRows("select 10 / (3 - i) from generate_series(1, 3) i")
        let error = failure { () throws(PostgresError) in
            while try connection.nextRow() != nil {}
        }
        #expect(error?.sqlState == "22012")
        try connection.startRows("select pg_sleep(30)")
        let late = failure { () throws(PostgresError) in
            _ = try connection.nextRow(timeout: .milliseconds(200))
        }
        #expect(late?.kind == .timedOut)
        #expect(try connection.query("select 3").values == [["3"]])
    }

    @Test func refusals() throws {
        let nobody = failure { () throws(PostgresError) in
            _ = try PostgresConnection(
                connecting: ConnectionSettings(url: "host=127.0.0.1 port=1 user=u dbname=d password=hunter2"))
        }
        #expect(nobody?.kind == .transient && nobody?.sqlState == nil)
        #expect(nobody?.description.contains("hunter2") == false)
        let settings = try TestServer.settings("dbname=nosuch")
        let database = failure { () throws(PostgresError) in _ = try PostgresConnection(connecting: settings) }
        #expect(database?.sqlState == "3D000" && database?.kind == .configuration)
    }

    @Test func aServerThatAcceptsAndSaysNothingIsLeftAtTheDeadline() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                _ = bind(listener, pointer, length)
                _ = listen(listener, 8)
                _ = getsockname(listener, pointer, &length)
            }
        }
        let url = "host=127.0.0.1 user=u dbname=d port=\(address.sin_port.byteSwapped)"
        let started = ContinuousClock.now
        let error = failure { () throws(PostgresError) in
            _ = try PostgresConnection(connecting: ConnectionSettings(url: url), timeout: .milliseconds(300))
        }
        #expect(error?.kind == .timedOut)
        // Where more than the connection waits for it.
        let limited = failure { () throws(PostgresError) in
            _ = try PostgresConnection(
                connecting: ConnectionSettings(url: url + " connect_timeout=30"), limit: .milliseconds(300))
        }
        #expect(limited?.kind == .timedOut)
        #expect(ContinuousClock.now - started < .seconds(2))
    }

    private func residentKilobytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var text = [CChar](repeating: 0, count: 128)
        guard fgets(&text, 128, file) != nil else { return 0 }
        let fields = String(decoding: text.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4 : 0
    }
}
