import Testing

@testable import Postgres

@Suite(.enabled(if: TestServer.url != nil, "SLUICE_TEST_POSTGRES is not set"))
struct StorageTests {
    /// As a snapshot shows it, and as it is: what finds no row any more lies elsewhere, and nothing else does.
    @Test func storageIsAnotherOnceATableIsTruncatedOrRewritten() throws {
        var sql = try TestServer.connect()
        var old = try TestServer.connect()
        let schema = TestServer.name("s")
        try sql.execute(
            """
            create schema \(schema); set search_path = \(schema);
            create table a (id int primary key, v varchar(10)); create table heir () inherits (a);
            create table p (id int, d int) partition by list (d);
            create table p1 partition of p for values in (1); create table p2 partition of p for values in (2)
                partition by list (id); create table p21 partition of p2 for values in (1)
            """)
        let found = try sql.tables(matching: [pattern("\(schema).a"), pattern("\(schema).p")])
        let (a, p) = (found[0].oid, found[1].oid)
        try old.execute("begin isolation level repeatable read read only")
        let before = try storages(a, p, &old)
        #expect(before.map(\.count) == [1, 2], "its own rows, and the leaves'")
        try sql.execute("insert into a values (1, 'x'); alter table a add w int; truncate heir; analyze a")
        #expect(try storages(a, p, &sql) == before)
        try sql.execute("alter table a alter v type varchar(20) using v || ''")
        let rewritten = try storages(a, p, &sql)
        #expect(rewritten[0] != before[0] && rewritten[1] == before[1])
        try sql.execute("truncate p21")
        let truncated = try storages(a, p, &sql)
        #expect(truncated[0] == rewritten[0] && truncated[1] != before[1])
        #expect(try storages(a, p, &old) == before, "the snapshot's own")
        try sql.execute("drop table p")
        #expect(try storages(a, p, &sql)[1].isEmpty)
        try old.execute("rollback")
        try sql.execute("drop schema \(schema) cascade")
    }

    private func storages(
        _ one: UInt32, _ other: UInt32, _ connection: inout PostgresConnection
    ) throws -> [[UInt32: UInt32]] {
        [try connection.storage(of: one), try connection.storage(of: other)]
    }
}
