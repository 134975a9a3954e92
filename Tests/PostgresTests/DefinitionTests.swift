import Testing

@testable import Postgres

/// Statements that change what the database has, beside what others have made of it. Each test has a database of its own.
@Suite(.enabled(if: TestServer.url != nil, "SLUICE_TEST_POSTGRES is not set"))
struct DefinitionTests {
    private func withDatabase(
        _ options: String = "", _ body: (inout PostgresConnection, ConnectionSettings) throws -> Void
    ) throws {
        var admin = try TestServer.connect()
        let name = TestServer.name("own")
        try admin.execute("create database \(name) \(options)")
        defer { try? admin.execute("drop database \(name) with (force)") }
        let settings = try TestServer.settings("dbname=\(name)")
        var sql = try TestServer.connect(to: settings)
        try body(&sql, settings)
    }

    private static let auditor = """
        create table ddl_audit (tag text);
        create table t (id int primary key);
        create function audit() returns event_trigger language plpgsql as $$
            begin insert into ddl_audit values (tg_tag); end $$;
        create event trigger audit on ddl_command_end execute function audit()
        """

    /// As whoever gives the statement by hand has it: the trigger's function names its table without a schema.
    @Test func eventTriggersHaveTheSearchPathOfTheRole() throws {
        try withDatabase { sql, settings in
            try sql.execute(Self.auditor)
            var ours = try PostgresConnection(connecting: settings)
            try ours.define(#"CREATE PUBLICATION "p" FOR TABLE "public"."t""#)
            #expect(try sql.query("select tag from public.ddl_audit").values == [["CREATE PUBLICATION"]])
            #expect(try ours.query("show search_path").values == [[""]])
        }
    }

    @Test func anErrorOfAnEventTriggerNamesItsFunctionAndNoValue() throws {
        try withDatabase { sql, settings in
            try sql.execute(Self.auditor)
            try sql.execute("alter table ddl_audit add check (tag <> 'CREATE PUBLICATION')")
            var ours = try PostgresConnection(connecting: settings)
            let error = failure { () throws(PostgresError) in
                try ours.define(#"CREATE PUBLICATION "p" FOR TABLE "public"."t""#)
            }
            #expect(error?.sqlState == "23514")
            #expect(error?.detail?.contains("PL/pgSQL function audit() line 2 at SQL statement") == true)
            #expect(error?.detail?.contains("insert into") == false)
            #expect(try ours.query("show search_path").values == [[""]])
        }
    }

    @Test func whoHasTheLockIsKnown() throws {
        try withDatabase { sql, settings in
            try sql.execute("create table t (id int primary key)")
            try sql.execute("begin; lock table t in share update exclusive mode; select 'a row'")
            var ours = try PostgresConnection(connecting: settings)
            let pid = ours.backendPID
            var wait: LockWait?
            let error = failure { () throws(PostgresError) in
                try ours.define(
                    #"CREATE PUBLICATION "p" FOR TABLE "public"."t""#, timeout: .milliseconds(2500),
                    whileWaiting: {
                        wait = try? {
                            var other = try PostgresConnection(connecting: settings)
                            return try other.lockWait(of: pid)
                        }()
                    })
            }
            #expect(error?.kind == .timedOut)
            #expect(wait?.lock == "ShareUpdateExclusiveLock on public.t" && wait?.blockers.count == 1)
            #expect(wait?.blockers.first?.pid == sql.backendPID && wait?.blockers.first?.seconds != nil)
            #expect(wait?.description.contains("application sluice, idle in transaction") == true)
            #expect(wait?.description.contains("a row") == false)
            try sql.execute("rollback")
            #expect(try ours.lockWait(of: sql.backendPID) == nil)
            try ours.define(#"CREATE PUBLICATION "p" FOR TABLE "public"."t""#)
        }
    }

    /// A role, or a database, that reads unless it says otherwise, and that bounds its transactions.
    @Test func whatTheRoleIsBoundByDoesNotBindUs() throws {
        try withDatabase { sql, settings in
            let name = settings.database
            try sql.execute("alter database \(name) set default_transaction_read_only = on")
            let hasTimeout = try sql.setting("transaction_timeout") != nil
            if hasTimeout { try sql.execute("alter database \(name) set transaction_timeout = '1s'") }
            var ours = try PostgresConnection(connecting: settings)
            try ours.define(#"CREATE PUBLICATION "p""#)
            if hasTimeout { #expect(try ours.setting("transaction_timeout") == "0") }
        }
    }

    /// What the server cannot hold no table of it can be named.
    @Test func aPatternThatTheDatabaseCannotHoldFindsNothing() throws {
        try withDatabase("template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'") { sql, settings in
            try sql.execute("create table größe (id int primary key)")
            var ours = try PostgresConnection(connecting: settings)
            #expect(
                try ours.tables(matching: [pattern("public.表*"), pattern("public.größe")]).map(\.name) == ["größe"])
        }
    }

    /// A table that nobody has asked for, named in Latin-1: it stops nothing, and is nothing else.
    @Test func aNameThatIsNotUTF8IsNobodys() throws {
        try withDatabase("template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'") { sql, settings in
            try sql.execute(
                #"""
                create table plain (id int primary key); create table "t\#u{FFFD}l\#u{FFFD}" (id int primary key);
                do $$ begin execute 'create table ' || quote_ident(E't\351l\351') || ' (id int primary key)'; end $$;
                create publication p for all tables
                """#)
            var ours = try PostgresConnection(connecting: settings)
            let names = ["plain", "t\u{FFFD}l\u{FFFD}"]
            #expect(try ours.tables(matching: [pattern("public.*")]).map(\.name) == names)
            #expect(try ours.tables(matching: [pattern("public.t\u{FFFD}l\u{FFFD}")]).count == 1)
            let published = try #require(try ours.publication(named: "p")).tables
            #expect(published.count == 3 && published.filter(\.isNamedInUTF8).map(\.name).sorted() == names)
            #expect(try ours.query("select 'é' as e").values == [["é"]])
        }
    }
}

@Suite struct ContextTests {
    @Test func onlyFunctionsAreTold() {
        let context = """
            SQL statement "insert into log values ('PL/pgSQL function secret')"
            PL/pgSQL function public.audit(integer) line 3 at SQL statement
            COPY t, line 1: "secret"
            """
        #expect(
            LibpqText.functions(inContext: context) == "PL/pgSQL function public.audit(integer) line 3 at SQL statement"
        )
        #expect(LibpqText.functions(inContext: "COPY t, line 1: \"secret\"") == nil)
    }
}
