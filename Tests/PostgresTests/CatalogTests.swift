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
        #expect(a.columns[3].generated == .stored && a.columns[1].defaultExpression == "'q'::text")
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
        #expect(try sql.exactRowCount(schema: schema, table: "a_gold") == 100)
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
            #expect(publication.tables[0].columns == ["a", "C,d"] && publication.tables[0].rowFilter == "(a > 5)")
            #expect(publication.tables[1].columns == ["a"] && publication.tables[1].rowFilter == nil)
        }
        #expect(try sql.publication(named: "nosuch") == nil)
        try sql.execute("drop schema \(schema) cascade; drop publication \(Quoting.identifier(name))")
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
        #expect(try sql.setting("wal_level") == "logical" && sql.setting("no.such") == nil)
        for slot in try sql.replicationSlots() { #expect(!slot.name.isEmpty) }
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
        try sql.execute("drop schema \(schema) cascade")
    }
}
