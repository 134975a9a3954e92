import ChangeData
import Glibc
import Testing

@testable import Postgres

/// Reads until `enough` says so or the time is up; returns the kinds of the output plugin's messages and the last LSN seen.
struct Reading {
    var kinds = ""
    var commits = 0
    var inserts = 0
    var end = LSN(0)
    var wantsReply = 0

    mutating func read(
        _ connection: inout ReplicationConnection, seconds: Int = 20, until enough: (Reading) -> Bool
    ) throws(PostgresError) {
        let deadline = Deadline(after: .seconds(seconds))
        while !enough(self), !deadline.hasPassed {
            switch try connection.receive() {
            case .frame(let frame):
                switch frame.header {
                case .walData(let start, _):
                    let kind = frame.payload[0]
                    kinds.unicodeScalars.append(UnicodeScalar(kind))
                    if kind == UInt8(ascii: "C") { commits += 1 }
                    if kind == UInt8(ascii: "I") { inserts += 1 }
                    end = max(end, start)
                case .keepalive(let walEnd, _, let replyRequested):
                    end = max(end, walEnd)
                    if replyRequested { wantsReply += 1 }
                }
            case .nothing: _ = try connection.wait(timeoutMilliseconds: 100)
            case .ended: return
            }
        }
    }
}

@Suite(.enabled(if: TestServer.url != nil, "SLUICE_TEST_POSTGRES is not set"), .serialized)
struct ReplicationTests {
    /// A table, a publication with a name that needs quotes, and a slot; dropped at the end.
    struct Fixture {
        let slot = TestServer.name("slot")
        let table = TestServer.name("t")
        let publication = TestServer.name("Pub, \"x'")

        init() throws {
            var sql = try TestServer.connect()
            try sql.execute("create table \(table) (id int primary key, v text)")
            try sql.execute("create publication \(Quoting.identifier(publication)) for table \(table)")
            var replication = try ReplicationConnection(connecting: TestServer.settings())
            _ = try replication.createLogicalSlot(slot, timeout: .seconds(60))
        }

        func start(_ more: String = "", at lsn: LSN = LSN(0)) throws -> ReplicationConnection {
            var connection = try ReplicationConnection(connecting: TestServer.settings(more))
            try connection.startReplication(slot: slot, at: lsn, publications: [publication])
            return connection
        }

        func drop() throws {
            var replication = try ReplicationConnection(connecting: TestServer.settings())
            try replication.dropSlot(slot, waitForRelease: true)
            var sql = try TestServer.connect()
            try sql.execute("drop publication \(Quoting.identifier(publication)); drop table \(table)")
        }
    }

    @Test func sessionSettingsAreOurs() throws {
        let hostile =
            "options='-c datestyle=german -c intervalstyle=iso_8601 -c extra_float_digits=-5 -c timezone=Asia/Tokyo"
            + " -c bytea_output=escape -c statement_timeout=1h -c client_min_messages=error -c quote_all_identifiers=on'"
        var connection = try ReplicationConnection(connecting: TestServer.settings(hostile))
        #expect(connection.parameterStatus("DateStyle") == "ISO, MDY")
        #expect(connection.parameterStatus("IntervalStyle") == "postgres")
        #expect(connection.parameterStatus("TimeZone") == "UTC")
        #expect(connection.parameterStatus("client_encoding") == "UTF8")
        for (name, value) in ["client_min_messages": "warning", "quote_all_identifiers": "off"] {
            let shown = try connection.command("SHOW \(name)", during: .query, timeout: .seconds(10))
            #expect(shown[0, name] == value)
        }
    }

    @Test func identifiesTheSystem() throws {
        var replication = try ReplicationConnection(connecting: TestServer.settings())
        var sql = try TestServer.connect()
        let identity = try replication.identifySystem()
        let facts = try sql.serverFacts()
        #expect(identity.systemID == facts.systemID && identity.timeline == facts.timeline)
        #expect(try identity.database == TestServer.settings().database)
        #expect(identity.walPosition > LSN(0))
        #expect(try replication.timelineHistory(1) == [])
        let unknown = failure { () throws(PostgresError) in _ = try replication.timelineHistory(99) }
        #expect(unknown != nil)
        #expect(try replication.identifySystem().systemID == identity.systemID)
    }

    @Test func slotsAreMadeHeldAndDropped() throws {
        let name = TestServer.name("slot")
        var replication = try ReplicationConnection(connecting: TestServer.settings())
        let point = try replication.createLogicalSlot(name, timeout: .seconds(60))
        let twice = failure { () throws(PostgresError) in
            _ = try replication.createLogicalSlot(name, timeout: .seconds(60))
        }
        #expect(twice?.kind == .duplicate)
        var sql = try TestServer.connect()
        let slot = try #require(try sql.replicationSlot(named: name))
        #expect(slot.confirmedFlushLSN == point && slot.plugin == "pgoutput" && slot.activePID == nil)

        var holder = try ReplicationConnection(connecting: TestServer.settings(), applicationName: "holder")
        try holder.startReplication(slot: name, at: point, publications: ["none"])
        let held = try #require(try sql.replicationSlot(named: name))
        #expect(held.activePID == holder.backendPID && held.activeApplication == "holder")
        let walsender = holder.walsender
        #expect(walsender.startedAt != nil && held.holder == walsender)
        #expect(try sql.holder(ofSlot: name) == walsender)
        let start = failure { () throws(PostgresError) in
            try replication.startReplication(slot: name, at: point, publications: ["none"])
        }
        #expect(start?.kind == .slotInUse && start?.sqlState == "55006")
        let drop = failure { () throws(PostgresError) in try replication.dropSlot(name) }
        #expect(drop?.kind == .slotInUse)
        holder.finish()
        try replication.dropSlot(name, waitForRelease: true)
        let gone = failure { () throws(PostgresError) in try replication.dropSlot(name) }
        #expect(gone?.kind == .slotMissing)
        let absent = failure { () throws(PostgresError) in
            try replication.startReplication(slot: name, at: point, publications: ["none"])
        }
        #expect(absent?.kind == .slotMissing && absent?.sqlState == "42704")
        #expect(try sql.replicationSlot(named: name) == nil)
        #expect(try sql.holder(ofSlot: name) == nil)
    }

    /// A process ID is given again: what began at another time is another's, and is left alone.
    @Test func aWalsenderIsEndedByItsStartToo() throws {
        let fixture = try Fixture()
        var connection = try fixture.start()
        var sql = try TestServer.connect()
        let walsender = connection.walsender
        let startedAt = try #require(walsender.startedAt)
        try sql.terminate(Walsender(pid: walsender.pid, startedAt: startedAt - 1))
        try sql.terminate(Walsender(pid: walsender.pid, startedAt: nil))
        var reading = Reading()
        try reading.read(&connection, seconds: 1) { _ in false }
        #expect(try sql.holder(ofSlot: fixture.slot) == walsender)
        try sql.terminate(walsender)
        let error = failure { () throws(PostgresError) in try reading.read(&connection) { _ in false } }
        #expect(error?.sqlState == "57P01")
        try fixture.drop()
    }

    /// Another role's processes are seen, and when they began is not.
    @Test func whoHoldsASlotIsSeenByOtherRolesWithoutItsStart() throws {
        let fixture = try Fixture()
        let role = TestServer.name("role")
        var sql = try TestServer.connect()
        try sql.execute("create role \(role)")
        var connection = try fixture.start()
        let walsender = connection.walsender
        var other = try TestServer.connect("options='-c role=\(role)'")
        #expect(try other.holder(ofSlot: fixture.slot) == Walsender(pid: walsender.pid, startedAt: nil))
        let hidden = try ReplicationConnection(connecting: TestServer.settings("options='-c role=\(role)'"))
        #expect(hidden.walsender.startedAt == nil)
        var reading = Reading()
        try reading.read(&connection, seconds: 1) { _ in true }
        connection.finish()
        try sql.execute("drop role \(role)")
        try fixture.drop()
    }

    @Test func failoverIsAVersionsMatter() throws {
        let name = TestServer.name("slot")
        var replication = try ReplicationConnection(connecting: TestServer.settings())
        if replication.serverVersion >= 170_000 {
            _ = try replication.createLogicalSlot(name, failover: true, timeout: .seconds(60))
            var sql = try TestServer.connect()
            #expect(try sql.replicationSlot(named: name)?.isFailover == true)
            try replication.dropSlot(name)
        } else {
            let error = failure { () throws(PostgresError) in
                _ = try replication.createLogicalSlot(name, failover: true, timeout: .seconds(60))
            }
            #expect(error?.kind == .fatal)
        }
    }

    /// Trap 37.
    @Test func slotCreationBehindAnOpenTransactionEndsAtItsDeadline() throws {
        var blocker = try TestServer.connect("application_name=blocker")
        try blocker.execute("begin; create temp table x (i int)")
        var sql = try TestServer.connect()
        #expect(
            try sql.runningTransactions(limit: 100).contains {
                $0.pid == blocker.backendPID && $0.description.contains("blocker")
            })
        let name = TestServer.name("slot")
        var replication = try ReplicationConnection(connecting: TestServer.settings())
        var calls = 0
        let late = failure { () throws(PostgresError) in
            _ = try replication.createLogicalSlot(name, timeout: .milliseconds(1500)) {
                calls += 1
                return true
            }
        }
        #expect(late?.kind == .timedOut && calls >= 1)
        #expect(try sql.replicationSlot(named: name) == nil)
        let ended = failure { () throws(PostgresError) in
            _ = try replication.createLogicalSlot(name, timeout: .seconds(60)) { false }
        }
        #expect(ended?.kind == .timedOut)
        // The connection has survived both.
        try blocker.execute("rollback")
        _ = try replication.createLogicalSlot(name, timeout: .seconds(60))
        try replication.dropSlot(name)
    }

    @Test func rowsArriveAndStatusMovesTheSlot() throws {
        let fixture = try Fixture()
        var sql = try TestServer.connect()
        try sql.execute("insert into \(fixture.table) values (1, 'a'), (2, null)")
        try sql.execute("update \(fixture.table) set v = 'b' where id = 2")
        try sql.query("select pg_logical_emit_message(true, 'p', 'text')").values.forEach { _ in }
        var connection = try fixture.start()
        var reading = Reading()
        try reading.read(&connection) { $0.commits == 3 }
        #expect(reading.kinds == "BRIICBUCBMC")
        let confirmed = reading.end
        try connection.sendStatus(written: confirmed, flushed: confirmed, applied: confirmed, now: 1)
        connection.finish()
        #expect(try sql.replicationSlot(named: fixture.slot)?.confirmedFlushLSN == confirmed)

        // What was confirmed does not come again, though we ask for it.
        var again = try fixture.start(at: LSN(1))
        try sql.execute("delete from \(fixture.table) where id = 1")
        var second = Reading()
        try second.read(&again) { $0.commits == 1 }
        #expect(second.kinds == "BRDC")
        again.finish()
        try fixture.drop()
    }

    /// One message far larger than libpq's buffer, and more rows than a socket holds.
    @Test func largeMessagesAndManyRows() throws {
        let fixture = try Fixture()
        var sql = try TestServer.connect()
        try sql.execute("insert into \(fixture.table) values (0, repeat('é', 20000000))", timeout: .seconds(60))
        try sql.execute("insert into \(fixture.table) select i, repeat('x', 100) from generate_series(1, 50000) i")
        var connection = try fixture.start()
        var (rows, largest, bytes, commits) = (0, 0, 0, 0)
        let deadline = Deadline(after: .seconds(60))
        while commits < 2, !deadline.hasPassed {
            switch try connection.receive() {
            case .frame(let frame):
                guard case .walData = frame.header else { continue }
                if frame.payload[0] == UInt8(ascii: "I") { rows += 1 }
                if frame.payload[0] == UInt8(ascii: "C") { commits += 1 }
                largest = max(largest, frame.payload.count)
                bytes += frame.payload.count
            case .nothing: _ = try connection.wait(timeoutMilliseconds: 100)
            case .ended: Issue.record("the stream ended")
            }
        }
        #expect(rows == 50_001 && largest > 40_000_000 && bytes > 45_000_000)
        connection.finish()
        try fixture.drop()
    }

    @Test func statusKeepsTheConnectionAliveAndSilenceDoesNot() throws {
        let fixture = try Fixture()
        // A reply is asked for when half of it has passed: the other half is a slow machine's.
        var connection = try fixture.start("options='-c wal_sender_timeout=2s'")
        var reading = Reading()
        let end = Deadline(after: .seconds(3))
        while !end.hasPassed {
            try reading.read(&connection) { $0.wantsReply > 0 }
            #expect(reading.wantsReply > 0)
            reading.wantsReply = 0
            try connection.sendStatus(written: LSN(0), flushed: LSN(0), applied: LSN(0), now: 1)
        }
        // A server that is not answered closes; that is noticed as a lost connection, not as an end.
        let error = failure { () throws(PostgresError) in try reading.read(&connection) { _ in false } }
        #expect(error?.kind == .transient)
        try fixture.drop()
    }

    /// Trap 11: both directions full. Nothing here may block.
    @Test func statusNeverHangsOnAFullSocket() throws {
        let fixture = try Fixture()
        var sql = try TestServer.connect()
        try sql.execute("insert into \(fixture.table) select i, repeat('x', 1000) from generate_series(1, 60000) i")
        var connection = try fixture.start("options='-c wal_sender_timeout=60s'")
        let started = Deadline.now()
        for index in 0..<200_000 {
            try connection.sendStatus(written: LSN(0), flushed: LSN(0), applied: LSN(0), now: Int64(index))
        }
        #expect(Deadline.now() - started < 20_000_000_000)
        var reading = Reading()
        try reading.read(&connection, seconds: 60) { $0.commits == 1 }
        #expect(reading.inserts == 60_000)
        connection.finish()
        try fixture.drop()
    }

    @Test func waitEndsForEachOfItsReasons() throws {
        let fixture = try Fixture()
        var connection = try fixture.start()
        // Another one's WAL may be told of at any time, once the server has come to the end of it.
        var reading = Reading()
        let deadline = Deadline(after: .seconds(20))
        repeat {
            try reading.read(&connection, seconds: 1) { _ in false }
        } while try connection.wait(timeoutMilliseconds: 50) != [] && !deadline.hasPassed
        #expect(try connection.wait(timeoutMilliseconds: 50) == [])
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        #expect(write(ends[1], "x", 1) == 1)
        #expect(try connection.wait(timeoutMilliseconds: 5000, wakeup: ends[0]) == .wakeup)
        var sql = try TestServer.connect()
        try sql.execute("insert into \(fixture.table) values (1, 'a')")
        #expect(try connection.wait(timeoutMilliseconds: 5000) == .input)
        connection.finish()
        try fixture.drop()
    }

    @Test func aTerminatedWalsenderIsAnErrorOfItsKind() throws {
        let fixture = try Fixture()
        var connection = try fixture.start()
        var sql = try TestServer.connect()
        _ = try sql.query("select pg_terminate_backend($1::int)", ["\(connection.backendPID)"])
        var reading = Reading()
        let error = failure { () throws(PostgresError) in try reading.read(&connection) { _ in false } }
        #expect(error?.kind == .shuttingDown && error?.sqlState == "57P01")
        try fixture.drop()
    }

    @Test func aMissingPublicationIsNotAMissingSlot() throws {
        let fixture = try Fixture()
        var connection = try ReplicationConnection(connecting: TestServer.settings())
        try connection.startReplication(slot: fixture.slot, at: LSN(0), publications: ["nosuch"])
        var sql = try TestServer.connect()
        try sql.execute("insert into \(fixture.table) values (1, 'a')")
        var reading = Reading()
        let error = failure { () throws(PostgresError) in try reading.read(&connection, seconds: 20) { _ in false } }
        // From 18 on the server only warns, and would go on without these rows (trap 39).
        #expect(error?.kind == .undefined)
        #expect(error?.sqlState == (connection.serverVersion >= 180_000 ? "55000" : "42704"))
        connection.finish()
        try fixture.drop()
    }
}
