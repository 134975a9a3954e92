import Glibc
import Synchronization
import Testing

@testable import Pipeline
@testable import Postgres

private let serverURL = getenv("SLUICE_TEST_POSTGRES").map { String(cString: $0) }

/// What is said of a statement of `init` or `drop` that fails.
@Suite(.enabled(if: serverURL != nil, "SLUICE_TEST_POSTGRES is not set"))
struct DefinitionTests {
    private func run(_ sql: String, _ settings: ConnectionSettings) throws -> (error: PostgresError?, told: String) {
        let told = Mutex("")
        let output = Output { line in told.withLock { $0 += line } }
        var connection = try PostgresConnection(connecting: settings)
        do throws(PostgresError) {
            try Definition(sql: sql, settings: settings, output: output, timeout: .seconds(4)).run(on: &connection)
            return (nil, told.withLock { $0 })
        } catch { return (error, told.withLock { $0 }) }
    }

    @Test func theStatementAndWhoIsInItsWayAreNamed() throws {
        let settings = try ConnectionSettings(url: try #require(serverURL))
        let name = "definition_\(UInt32.random(in: 0 ... .max))"
        var other = try PostgresConnection(connecting: settings)
        try other.execute("create table public.\(name) (id int primary key)")
        defer { try? other.execute("drop table public.\(name)") }
        try other.execute("begin; lock table public.\(name) in share update exclusive mode; select 'a row'")
        let sql = "CREATE PUBLICATION \(name) FOR TABLE public.\(name)"
        let (error, told) = try run(sql, settings)
        let pid = "behind pid \(other.backendPID) ("
        #expect(error?.kind == .timedOut && error?.message == "\(sql): PostgreSQL has not answered in time")
        #expect(error?.detail?.contains("ShareUpdateExclusiveLock on public.\(name), \(pid)") == true)
        #expect(told.contains(pid) && told.contains("idle in transaction") && !told.contains("a row"))
        try other.execute("rollback")
    }

    @Test func anErrorOfTheServersKeepsItsKind() throws {
        let settings = try ConnectionSettings(url: try #require(serverURL))
        let long = "DROP PUBLICATION nosuch" + String(repeating: ", nosuch", count: 100)
        let (error, told) = try run(long, settings)
        #expect(error?.kind == .undefined && error?.sqlState == "42704" && told.isEmpty)
        #expect(error?.message.hasPrefix("DROP PUBLICATION nosuch, nosuch") == true)
        #expect((error?.message.count ?? 0) < 300 && error?.detail == nil)
    }
}
