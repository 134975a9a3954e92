import ChangeData
import Glibc
import Testing

@testable import Postgres

@Suite(.enabled(if: PrivateServer.bin != nil, "SLUICE_TEST_POSTGRES_BIN is not set"), .serialized)
struct PrivateServerTests {
    private func start(_ url: String) throws -> ReplicationConnection {
        var sql = try TestServer.connect(to: ConnectionSettings(url: url))
        try sql.execute("create table if not exists t (id bigserial primary key, v text)")
        if try sql.publication(named: "p") == nil { try sql.execute("create publication p for table t") }
        var connection = try ReplicationConnection(connecting: ConnectionSettings(url: url))
        if try sql.replicationSlot(named: "s") == nil {
            _ = try connection.createLogicalSlot("s", timeout: .seconds(30))
        }
        try connection.startReplication(slot: "s", at: LSN(0), publications: ["p"])
        return connection
    }

    /// Where others may make objects in a schema of the search path, an operator of theirs with nearer types would be run with our
    /// rights.
    @Test func anOperatorOfSomebodyElsesIsNotTaken() throws {
        let server = try PrivateServer()
        let settings = try ConnectionSettings(url: server.unix)
        var sql = try TestServer.connect(to: settings)
        try sql.execute(
            """
            create function trap(numeric, integer) returns numeric language plpgsql as 'begin raise exception ''taken''; end';
            create operator public.* (leftarg = numeric, rightarg = integer, function = trap);
            create function trap(oid, regclass) returns boolean language plpgsql as 'begin raise exception ''taken''; end';
            create operator public.= (leftarg = oid, rightarg = regclass, function = trap);
            create table t (id int primary key); create publication p for table t
            """)
        #expect(throws: PostgresError.self) { try sql.query("select 2::numeric * 3") }
        var ours = try PostgresConnection(connecting: settings)
        #expect(try ours.serverPosition().clock > 0)
        #expect(try ours.publication(named: "p")?.tables.count == 1)
        #expect(try ours.tables(matching: [pattern("public.t")]).count == 1 && ours.serverFacts().version > 0)
        let replication = try ReplicationConnection(connecting: settings)
        #expect(replication.walsender.startedAt != nil)
    }

    private func streams(_ url: String) throws {
        var connection = try start(url)
        var sql = try TestServer.connect(to: ConnectionSettings(url: url))
        try sql.execute("insert into t (v) select repeat('x', 1 + i % 5000) from generate_series(1, 20000) i")
        try sql.execute("insert into t (v) select 'y' from generate_series(1, 20000) i")
        var reading = Reading()
        try reading.read(&connection, seconds: 60) { $0.commits == 2 }
        #expect(reading.inserts == 40_000)
        try connection.sendStatus(written: reading.end, flushed: reading.end, applied: reading.end, now: 0)
        connection.finish()
        #expect(try sql.replicationSlot(named: "s")?.confirmedFlushLSN == reading.end)
    }

    @Test func everyTransport() throws {
        let server = try PrivateServer()
        try streams(server.unix)
        try streams(server.tcp + " sslmode=disable")
        if server.hasTLS {
            try streams(server.tcp + " sslmode=require")
            let sql = try PostgresConnection(
                connecting: ConnectionSettings(
                    url: server.tcp + " sslmode=verify-ca sslrootcert=\(server.directory)/data/server.crt"))
            let encrypted = sql.usesTLS
            #expect(encrypted)
        }
    }

    @Test func aWrongPasswordIsAPermissionMatter() throws {
        let server = try PrivateServer()
        var sql = try TestServer.connect(to: ConnectionSettings(url: server.tcp))
        try sql.execute("create role r login password 'right'")
        _ = try sql.query("select pg_catalog.set_config('x.y', '', false)")
        try sql.execute(
            """
            create temp table hba (line text);
            insert into hba values ('host all r 127.0.0.1/32 scram-sha-256'), ('host all postgres 127.0.0.1/32 trust'),
                                   ('local all all trust');
            copy hba to '\(server.directory)/data/pg_hba.conf';
            select pg_reload_conf()
            """)
        let url = "host=127.0.0.1 port=\(server.port) user=r dbname=postgres"
        // The postmaster reads the rules when it comes to it: until then any password will do.
        var wrong: PostgresError?
        let deadline = Deadline(after: .seconds(20))
        while wrong == nil, !deadline.hasPassed {
            wrong = failure { () throws(PostgresError) in
                _ = try PostgresConnection(connecting: ConnectionSettings(url: url, password: "wrongword"))
            }
        }
        #expect(wrong?.kind == .permission && wrong?.sqlState == "28P01")
        #expect(wrong?.description.contains("wrongword") == false)
        var right = try PostgresConnection(connecting: ConnectionSettings(url: url, password: "right"))
        let facts = try right.serverFacts()
        #expect(facts.role == "r" && !facts.roleCanReplicate && !facts.roleIsSuperuser)
        // As Amazon RDS has it.
        try sql.execute("create role rds_replication; grant rds_replication to r")
        #expect(try right.serverFacts().roleCanReplicate)
        let denied = failure { () throws(PostgresError) in
            _ = try ReplicationConnection(connecting: ConnectionSettings(url: url, password: "right"))
        }
        #expect(denied?.kind == .permission)
    }

    /// A fast shutdown waits for its walsenders, and they for us: an ordinary connection is refused with 57P03 meanwhile, and when
    /// all is confirmed the stream ends in order.
    @Test func aShutdownIsNoticed() throws {
        let server = try PrivateServer()
        var connection = try start(server.unix)
        var sql = try TestServer.connect(to: ConnectionSettings(url: server.unix))
        try sql.execute("insert into t (v) values ('unconfirmed')")
        var reading = Reading()
        try reading.read(&connection) { $0.commits == 1 }
        try server.stop("fast", wait: false)
        // Unconfirmed rows hold the server; the probe says why.
        var probe: PostgresError?
        let patience = Deadline(after: .seconds(20))
        while probe?.kind != .shuttingDown, !patience.hasPassed {
            probe = failure { () throws(PostgresError) in
                _ = try PostgresConnection(connecting: ConnectionSettings(url: server.unix))
            }
            usleep(100_000)
        }
        #expect(probe?.kind == .shuttingDown && probe?.sqlState == "57P03")
        let lost = failure { () throws(PostgresError) in _ = try sql.serverPosition() }
        #expect(lost?.kind == .shuttingDown && lost?.sqlState == "57P01")
        // Confirming everything ends the stream.
        var ended = false
        let deadline = Deadline(after: .seconds(20))
        while !ended, !deadline.hasPassed {
            switch try connection.receive() {
            case .frame(let frame):
                switch frame.header {
                case .walData(let start, _): reading.end = max(reading.end, start)
                case .keepalive(let walEnd, _, _): reading.end = max(reading.end, walEnd)
                }
                try connection.sendStatus(written: reading.end, flushed: reading.end, applied: reading.end, now: 0)
            case .nothing: _ = try connection.wait(timeoutMilliseconds: 100)
            case .ended: ended = true
            }
        }
        #expect(ended)
    }

    @Test func aKilledServerIsATransientLoss() throws {
        let server = try PrivateServer()
        var connection = try start(server.tcp)
        try server.stop("immediate")
        var reading = Reading()
        let error = failure { () throws(PostgresError) in try reading.read(&connection) { _ in false } }
        #expect(error?.kind == .transient || error?.kind == .shuttingDown)
        let send = failure { () throws(PostgresError) in
            try connection.sendStatus(written: LSN(0), flushed: LSN(0), applied: LSN(0), now: 0)
        }
        #expect(send == nil)
        connection.finish()
    }

    /// Trap 14: a slot past `max_slot_wal_keep_size`.
    @Test func anInvalidatedSlotIsSaidToBe() throws {
        let server = try PrivateServer()
        start(server.unix, finishing: true)
        var sql = try TestServer.connect(to: ConnectionSettings(url: server.unix))
        try sql.execute("alter system set max_slot_wal_keep_size = '1MB'")
        _ = try sql.query("select pg_reload_conf()")
        // The checkpointer reads the setting when it comes to it.
        var slot = try #require(try sql.replicationSlot(named: "s"))
        let deadline = Deadline(after: .seconds(20))
        while !slot.isInvalidated, !deadline.hasPassed {
            for _ in 0..<4 {
                _ = try sql.query("select pg_switch_wal()")
                try sql.execute("insert into t (v) values ('x')")
            }
            try sql.execute("checkpoint")
            slot = try #require(try sql.replicationSlot(named: "s"))
        }
        #expect(slot.walStatus == "lost" && slot.isInvalidated)
        var connection = try ReplicationConnection(connecting: ConnectionSettings(url: server.unix))
        let error = failure { () throws(PostgresError) in
            try connection.startReplication(slot: "s", at: LSN(0), publications: ["p"])
        }
        #expect(error?.kind == .slotInvalidated && error?.sqlState == "55000")
    }

    private func start(_ url: String, finishing: Bool) {
        do {
            let connection = try start(url)
            connection.finish()
        } catch {
            Issue.record(error)
        }
    }
}
