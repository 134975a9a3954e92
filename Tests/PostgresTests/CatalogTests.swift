import Testing

@testable import Postgres

@Suite(.enabled(if: TestServer.url != nil, "SLUICE_TEST_POSTGRES is not set"))
struct CatalogTests {
    private func patterns(_ texts: String...) -> [TablePattern] { texts.map(pattern) }

    @Test func tablesTheirKeysAndPartitions() throws {
        var sql = try TestServer.connect()
        let schema = TestServer.name("s")
        try sql.execute(
            """
            create schema \(schema); set search_path = \(schema);
            create table a_gold (x int, "Y b" text default 'q', z numeric(18,6) not null,
                g int generated always as (x + 1) stored, primary key ("Y b", x));
            create table b_gold (id int primary key deferrable, u int not null, v int not null);
            create unique index b_u on b_gold (v, u) include (id);
            create table c_gold (id int); alter table c_gold replica identity full;
            create unlogged table d_gold (id int primary key);
            create table p_gold (id int, d date, primary key (id, d)) partition by range (d);
            create table p1_gold partition of p_gold for values from ('2020-01-01') to ('2021-01-01');
            create table p2_gold partition of p_gold for values from ('2021-01-01') to ('2022-01-01');
            create view v_gold as select 1;
            create table other (id int primary key);
            insert into a_gold select i, i, i from generate_series(1, 100) i; analyze a_gold
            """)
        let found = try sql.tables(matching: patterns("\(schema).*_gold"))
        #expect(found.map(\.name) == ["a_gold", "b_gold", "c_gold", "d_gold", "p_gold"])
        let a = found[0]
        #expect(a.primaryKey?.columns == ["Y b", "x"] && a.primaryKey?.isDeferrable == false)
        #expect(a.identityColumns == ["Y b", "x"] && a.estimatedRows == 100 && a.canSelect && a.isOwner)
        #expect(a.columns.map(\.name) == ["x", "Y b", "z", "g"] && a.columns.map(\.number) == [1, 2, 3, 4])
        #expect(a.columns[3].generated == .stored)
        #expect(a.columns[2].typeName == "numeric(18,6)" && a.columns[2].isNotNull)
        #expect(found[1].primaryKey?.isDeferrable == true && found[1].identityColumns == nil)
        #expect(found[2].identityColumns == ["id"] && found[2].replicaIdentity == .full)
        #expect(found[3].persistence == .unlogged)
        #expect(found[4].kind == .partitionedTable && found[4].partitionLeaves.count == 2)

        try sql.execute("alter table b_gold replica identity using index b_u")
        let more = try sql.tables(matching: patterns("\(schema).b_gold", "\(schema).v_gold", "\(schema).p1_gold"))
        #expect(more.map(\.name) == ["b_gold", "p1_gold", "v_gold"])
        #expect(more[0].identityColumns == ["v", "u"] && more[2].kind == .view)
        #expect(more[1].partitionRoot == found[4].oid)
        #expect(try sql.exactRowCount(schema: schema, table: "a_gold", isPartitioned: false) == 100)
        try sql.execute("drop schema \(schema) cascade")
    }

    /// The server leaves out by LIKE, and we decide.
    @Test func tablesWithOddNames() throws {
        var sql = try TestServer.connect()
        let schema = TestServer.name("s")
        let names = ["a%b", "a_b", "axb", #"a\b"#, "größe", "o'k \"q\"", "$1"]
        let made = names.map { "create table \(Quoting.qualified(schema, $0)) (id int primary key)" }
        try sql.execute((["create schema \(schema)"] + made).joined(separator: "; "))
        func found(_ tables: String...) throws -> Set<String> {
            let patterns = tables.map { TablePattern(schema: schema, table: $0) }
            return Set(try sql.tables(matching: patterns).map(\.name))
        }
        for name in names { #expect(try found(name) == [name]) }
        #expect(try found("a?b") == ["a%b", "a_b", "axb", #"a\b"#])
        #expect(try found("gr??e", "*'*") == ["größe", "o'k \"q\""])
        #expect(try found("*", "nosuch") == Set(names))
        #expect(try found() == [] && found("a\u{0}b") == [] && found(String(repeating: "x", count: 100)) == [])
        let many = (0..<2000).map { TablePattern(schema: schema, table: "t\($0)") }
        #expect(try sql.tables(matching: many + [TablePattern(schema: schema, table: "axb")]).map(\.name) == ["axb"])
        try sql.execute("drop schema \(schema) cascade")
    }

    @Test func publications() throws {
        var sql = try TestServer.connect()
        let (schema, name) = (TestServer.name("s"), TestServer.name("Pub"))
        try sql.execute("create schema \(schema); create table \(schema).t (a int primary key, b int, \"C,d\" text)")
        try sql.execute("create table \(schema).u (a int primary key)")
        let filtered = sql.serverVersion >= 150_000
        try sql.execute(
            "create publication \(Quoting.identifier(name)) for table \(schema).u, \(schema).t"
                + (filtered ? " (a, \"C,d\") where (a > 5)" : "")
                + " with (publish = 'insert, delete', publish_via_partition_root = true)")
        let publication = try #require(try sql.publication(named: name))
        #expect(publication.insert && !publication.update && publication.delete && !publication.truncate)
        #expect(publication.viaPartitionRoot && !publication.publishesAllTables)
        #expect(publication.tables.map(\.name) == ["t", "u"])
        if filtered {
            let (t, u) = (publication.tables[0], publication.tables[1])
            #expect(t.columns == ["a", "C,d"] && t.isFiltered && u.columns == nil && !u.isFiltered)
            #expect(try sql.rowFilter(of: t.oid, in: name) == "(a > 5)" && sql.rowFilter(of: u.oid, in: name) == nil)
        }
        #expect(try sql.publication(named: "nosuch") == nil)
        try sql.execute("drop schema \(schema) cascade; drop publication \(Quoting.identifier(name))")
    }

    /// Each kind of publication over a tree of partitions on two schemas, against what the server itself says.
    @Test func whatIsPublishedIsWhatTheServerSays() throws {
        var sql = try TestServer.connect()
        let (one, two) = (TestServer.name("s"), TestServer.name("s"))
        try sql.execute(
            """
            create schema \(one); create schema \(two);
            create table \(one).root (id int, d int, primary key (id, d)) partition by range (d);
            create table \(one).low partition of \(one).root for values from (0) to (10);
            create table \(two).high partition of \(one).root for values from (10) to (90) partition by range (d);
            create table \(two).leaf partition of \(two).high for values from (10) to (50);
            create table \(one).plain (id int primary key); create table \(two).heir () inherits (\(one).plain);
            create unlogged table \(one).fast (id int primary key); create view \(one).v as select 1
            """)
        var kinds = [
            "for table \(one).root", "for table \(one).low", "for table \(two).high, \(one).plain",
            "for table \(one).root, \(two).leaf", "for table only \(one).plain", "for all tables", "",
        ]
        if sql.serverVersion >= 150_000 {
            kinds += [
                "for tables in schema \(one)", "for tables in schema \(two)", "for tables in schema \(one), \(two)",
                "for tables in schema \(two), table \(one).root",
            ]
        }
        for kind in kinds {
            for viaRoot in [true, false] {
                let name = TestServer.name("p")
                try sql.execute(
                    "create publication \(name) \(kind) with (publish_via_partition_root = \(viaRoot))")
                let theirs = try sql.query(
                    """
                    select quote_ident(schemaname) || '.' || quote_ident(tablename) as name from pg_publication_tables
                     where pubname = $1 and schemaname = any ($2) order by 1
                    """, [name, "{\(one),\(two)}"])
                let ours = try #require(try sql.publication(named: name)).tables
                    .filter { [one, two].contains($0.schema) }.map(\.qualifiedName).sorted()
                #expect(ours == theirs.values.compactMap { $0[0] }, "\(kind), via the root: \(viaRoot)")
                try sql.execute("drop publication \(name)")
            }
        }
        try sql.execute("drop schema \(one), \(two) cascade")
    }

    /// What tells a table that was taken out and put back, and another list or filter.
    @Test func entriesOfAPublication() throws {
        var sql = try TestServer.connect()
        let (schema, name) = (TestServer.name("s"), TestServer.name("p"))
        try sql.execute(
            """
            create schema \(schema); create table \(schema).t (a int primary key, b int);
            create table \(schema).root (id int primary key) partition by range (id);
            create table \(schema).leaf partition of \(schema).root for values from (0) to (10);
            create publication \(name) for table \(schema).t, \(schema).root
            """)
        func look() throws -> [String: PublishedTable] {
            let tables = try #require(try sql.publication(named: name)).tables
            return Dictionary(uniqueKeysWithValues: tables.map { ($0.name, $0) })
        }
        let before = try look()
        #expect(before["t"]?.entries.count == 1 && before["t"]?.restriction == nil)
        #expect(before["leaf"]?.entries.count == 1 && before["root"] == nil)
        #expect(before.values.allSatisfy { table in table.entries.allSatisfy { $0 > table.oid } }, "of one counter")
        try sql.execute("alter publication \(name) drop table \(schema).t")
        try sql.execute("alter publication \(name) add table \(schema).t")
        let after = try look()
        #expect(after["t"]?.entries.isDisjoint(with: before["t"]?.entries ?? []) == true)
        #expect(after["leaf"] == before["leaf"])
        if sql.serverVersion >= 150_000 {
            try sql.execute("alter publication \(name) set table \(schema).t (a) where (a > 5), \(schema).root")
            let listed = try look()
            #expect(listed["leaf"]?.entries == before["leaf"]?.entries, "SET leaves alone what it names as it is")
            #expect(listed["t"]?.entries != after["t"]?.entries)
            try sql.execute("alter publication \(name) set table \(schema).root")
            try sql.execute("alter publication \(name) add table    \(schema).t (a) where ( a>5 )")
            #expect(try look()["t"]?.restriction == listed["t"]?.restriction && listed["t"]?.restriction != nil)
            try sql.execute("alter publication \(name) set table \(schema).root, \(schema).t (a) where (a > 6)")
            #expect(try look()["t"]?.restriction != listed["t"]?.restriction)
            try sql.execute("alter publication \(name) set table \(schema).root, tables in schema \(schema)")
            #expect(try look()["leaf"]?.entries.count == 1 && look()["leaf"]?.schemaEntries.count == 1)
            #expect(try look()["t"]?.entries.isEmpty == true && look()["t"]?.schemaEntries.count == 1)
        }
        try sql.execute("drop schema \(schema) cascade; drop publication \(name)")
        try sql.execute("create publication \(name) for all tables")
        #expect(
            try sql.publication(named: name)?.tables.allSatisfy { $0.entries.isEmpty && $0.schemaEntries.isEmpty }
                == true)
        try sql.execute("drop publication \(name)")
    }

    @Test func writersOfATable() throws {
        var sql = try TestServer.connect()
        var writer = try TestServer.connect()
        let schema = TestServer.name("s")
        try sql.execute("create schema \(schema); create table \(schema).t (a int); create table \(schema).u (a int)")
        let table = try #require(try sql.tables(matching: [TablePattern(schema: schema, table: "t")]).first).oid
        try writer.execute("begin; select * from \(schema).t; insert into \(schema).u values (1)")
        #expect(try sql.writers(of: [table]).isEmpty, "who reads, or writes to another one")
        try writer.execute("insert into \(schema).t values (1)")
        #expect(try sql.writers(of: [table]).count == 1)
        try writer.execute("commit")
        #expect(try sql.writers(of: [table]).isEmpty)
        try sql.execute("drop schema \(schema) cascade")
    }

    /// A TRUNCATE, or an ALTER that rewrites, holds its lock for the whole of its transaction.
    @Test func nothingWaitsForTheLockOfATable() throws {
        var sql = try TestServer.connect()
        var writer = try TestServer.connect()
        let (schema, name) = (TestServer.name("s"), TestServer.name("p"))
        try sql.execute(
            """
            create schema \(schema); create table \(schema).a (id int primary key, v text default 'x');
            create table \(schema).p (id int, d int, primary key (id, d)) partition by range (d);
            create table \(schema).p1 partition of \(schema).p for values from (0) to (10);
            create publication \(name) for table \(schema).a, \(schema).p with (publish_via_partition_root = true)
            """)
        try writer.execute("begin; truncate \(schema).a, \(schema).p; lock table \(schema).p in access exclusive mode")
        try sql.execute("set lock_timeout = '1s'")
        let tables = try sql.tables(matching: patterns("\(schema).*"))
        #expect(tables.map(\.name) == ["a", "p"] && tables[1].partitionLeaves.count == 1)
        #expect(try sql.publication(named: name)?.tables.map(\.name) == ["a", "p"])
        #expect(try sql.publishedKeys(of: name)[tables[0].oid]?.primary == ["id"])
        #expect(try sql.keys(of: tables[1].oid).primary == ["id", "d"])
        #expect(try sql.ancestors(of: tables[1].partitionLeaves[0]).map(\.name) == ["p"])
        try writer.execute("rollback")
        try sql.execute("drop schema \(schema) cascade; drop publication \(name)")
    }

    @Test func leavesThatAreNotLoggedAndHeirs() throws {
        var sql = try TestServer.connect()
        let schema = TestServer.name("s")
        try sql.execute(
            """
            create schema \(schema); create table \(schema).p (id int, d int, primary key (id, d)) partition by range (d);
            create table \(schema).p1 partition of \(schema).p for values from (0) to (10);
            create unlogged table \(schema).p2 partition of \(schema).p for values from (10) to (20);
            create table \(schema).t (id int primary key); create table \(schema).h () inherits (\(schema).t);
            create table \(schema)."H2" () inherits (\(schema).h)
            """)
        let found = try sql.tables(matching: patterns("\(schema).p", "\(schema).t"))
        #expect(found[0].unloggedLeaves == ["\(schema).p2"] && found[0].heirs.isEmpty && found[0].foreignLeaves.isEmpty)
        let heirs = try sql.tables(matching: patterns("\(schema).H2"))
        #expect(try sql.parents(of: heirs[0].oid).map(\.name) == ["h", "t"])
        #expect(found[1].unloggedLeaves.isEmpty && found[1].heirs == ["\(schema).h", "\(schema).\"H2\""])
        try sql.execute("drop schema \(schema) cascade")
    }

    @Test func keysOfAllPublishedTablesAtOneMoment() throws {
        var sql = try TestServer.connect()
        var writer = try TestServer.connect()
        let (schema, name) = (TestServer.name("s"), TestServer.name("p"))
        try sql.execute(
            """
            create schema \(schema); set search_path = \(schema);
            create table a (x int, y int, primary key (y, x));
            create table b (id int primary key, u int not null unique);
            alter table b replica identity using index b_u_key; create table c (id int); create table d (id int primary key);
            create publication \(name) for table a, b, c
            """)
        let rows = try sql.query(
            "select 'a'::regclass::oid, 'b'::regclass::oid, 'c'::regclass::oid, 'd'::regclass::oid")
        let oids = try rows.values[0].map { try #require($0.flatMap { UInt32($0) }) }
        // A transaction that goes on may have changed a key, or met one that has.
        let open = try writer.query("begin; select txid_current() as xid")
        let xid = UInt32(truncatingIfNeeded: try #require(open[0, "xid"].flatMap { UInt64($0) }))
        let early = try sql.publishedKeys(of: name)
        #expect(early[oids[0]]?.primary == ["y", "x"])
        #expect(early[oids[1]]?.primary == ["id"] && early[oids[1]]?.identity == ["u"])
        #expect(early[oids[2]] == nil && early[oids[3]] == nil, "one has no key, one is not published")
        for oid in oids.prefix(2) { #expect(try sql.keys(of: oid) == early[oid]) }
        #expect(!early.covers(transaction: xid) && early.covers(transaction: xid &- 1_000_000_000))
        try writer.execute("commit")
        #expect(!early.covers(transaction: xid))
        let late = try sql.publishedKeys(of: name)
        #expect(late.covers(transaction: xid))
        try sql.execute("drop schema \(schema) cascade; drop publication \(name)")
    }

    @Test func server() throws {
        var sql = try TestServer.connect()
        let facts = try sql.serverFacts()
        #expect(facts.walLevel == "logical" && facts.maxWALSenders > 0 && facts.maxReplicationSlots > 0)
        #expect(facts.walSenderTimeoutMilliseconds == 60_000 && facts.roleIsSuperuser && !facts.isInRecovery)
        #expect(facts.maxSlotWALKeepMebibytes == -1 && facts.encoding == "UTF8" && facts.version == sql.serverVersion)
        let position = try sql.serverPosition()
        #expect(position.clock > 1_700_000_000_000_000 && position.wal.rawValue > 0)
        #expect(position.committed >= position.clock && position.timeline == facts.timeline && facts.timeline > 0)
        #expect(try sql.setting("wal_level") == "logical" && sql.setting("no.such") == nil)
    }

    @Test func types() throws {
        var sql = try TestServer.connect()
        let schema = TestServer.name("s")
        try sql.execute(
            """
            create schema \(schema); set search_path = \(schema);
            create type mood as enum ('a', 'b'); create domain price as numeric(10,2);
            create domain prices as price[]; create type pair as (a int, b mood)
            """)
        let rows = try sql.query(
            "select 'prices'::regtype::oid, 'mood[]'::regtype::oid, 'pair'::regtype::oid, 'price'::regtype::oid")
        let oids = rows.values[0].compactMap { $0.flatMap { UInt32($0) } }
        let types = try sql.types(oids: oids.prefix(3))
        func type(_ name: String) -> TypeFacts? { types.first { $0.name == name } }
        #expect(type("prices")?.kind == .domain && type("prices")?.baseType == type("_price")?.oid)
        #expect(type("_price")?.elementType == oids[3] && type("price")?.baseType == 1700)
        #expect(type("price")?.baseModifier == (10 << 16 | 2) + 4 && type("numeric")?.schema == "pg_catalog")
        #expect(type("_mood")?.elementType == type("mood")?.oid && type("mood")?.kind == .enumeration)
        #expect(type("pair")?.kind == .composite && type("mood")?.schema == schema)
        try sql.execute(
            """
            create domain dear as price; create domain dearer as dear; create domain many as prices;
            create table typed (a dearer, b many, c mood[], d int, e mood, f price)
            """)
        let columns = try #require(sql.tables(matching: patterns("\(schema).typed")).first).columns
        #expect(columns.map(\.domainBase) == [1700, type("_price")?.oid, nil, nil, nil, 1700])
        #expect(columns.map(\.isArray) == [false, true, true, false, false, false])
        try sql.execute("drop schema \(schema) cascade")
    }
}
