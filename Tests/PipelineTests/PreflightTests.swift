import ChangeData
import Testing

@testable import Pipeline
@testable import Postgres

/// What is said of a server, its tables and a publication before anything is made.
@Suite struct PreflightTests {
    private func server(
        version: Int = 150_000, walLevel: String = "logical", slots: (used: Int, most: Int) = (0, 10),
        senders: (used: Int, most: Int) = (0, 10), isInRecovery: Bool = false, kept: Int64 = 1024,
        libraries: String? = nil, synchronous: String = "", encoding: String = "UTF8", mayReplicate: Bool = true,
        isSuperuser: Bool = false,
        canCreate: Bool = true
    ) -> ServerFacts {
        ServerFacts(
            version: version, systemID: "7", timeline: 1, isInRecovery: isInRecovery, walLevel: walLevel,
            maxReplicationSlots: slots.most, usedReplicationSlots: slots.used, maxWALSenders: senders.most,
            usedWALSenders: senders.used, walSenderTimeoutMilliseconds: 60_000, maxSlotWALKeepMebibytes: kept,
            outputPluginLibraries: libraries, synchronousStandbyNames: synchronous, encoding: encoding, role: "sluice",
            roleCanReplicate: mayReplicate,
            roleIsSuperuser: isSuperuser, canCreateInDatabase: canCreate)
    }

    private func table(
        _ oid: UInt32 = 1, kind: TableFacts.Kind = .table, persistence: TableFacts.Persistence = .permanent,
        identity: TableFacts.ReplicaIdentity = .primaryKey, root: UInt32? = nil, leaves: [UInt32] = [],
        weak: [TableFacts.WeakLeaf] = [], unlogged: [String] = [], foreign: [String] = [], heirs: [String] = [],
        key: [String]? = ["id"], isDeferrable: Bool = false, index: [String]? = nil,
        generated: [String: ColumnFacts.Generated] = [:], types: [String: UInt32] = [:],
        domains: [String: UInt32] = [:], arrays: Set<String> = [], canSelect: Bool = true, isOwner: Bool = true,
        hasRowSecurity: Bool = false
    ) -> TableFacts {
        TableFacts(
            oid: oid, schema: "public", name: "t\(oid)", kind: kind, persistence: persistence,
            replicaIdentity: identity, partitionRoot: root, partitionLeaves: leaves, weakLeaves: weak,
            unloggedLeaves: unlogged, foreignLeaves: foreign, heirs: heirs,
            primaryKey: key.map { IndexFacts(oid: 90, name: "pk", columns: $0, isDeferrable: isDeferrable) },
            identityIndex: index.map { IndexFacts(oid: 91, name: "u", columns: $0, isDeferrable: false) },
            columns: ["id", "v", "g"].enumerated().map { number, name in
                ColumnFacts(
                    number: Int16(number + 1), name: name, typeOID: types[name] ?? 23, typeModifier: -1,
                    typeName: "integer",
                    isNotNull: true, generated: generated[name] ?? .never, domainBase: domains[name],
                    isArray: arrays.contains(name))
            }, estimatedRows: -1, canSelect: canSelect, isOwner: isOwner, hasRowSecurity: hasRowSecurity)
    }

    private func published(_ oid: UInt32, columns: [String]? = nil, isNamed: Bool = true) -> PublishedTable {
        PublishedTable(
            oid: oid, schema: "public", name: "t\(oid)", isNamed: isNamed, isRootNamed: !isNamed, columns: columns,
            isFiltered: false, entries: [oid], schemaEntries: [], restriction: nil)
    }

    private func publication(
        _ tables: [PublishedTable], viaRoot: Bool = true, sendsGenerated: Bool = false, truncate: Bool = true,
        delete: Bool = true, all: Bool = false
    ) -> Publication {
        Publication(
            name: "p", oid: 1, altered: 7, publishesAllTables: all, insert: true, update: true, delete: delete,
            truncate: truncate, viaPartitionRoot: viaRoot, publishesGeneratedColumns: sendsGenerated, tables: tables)
    }

    /// What is found beside what is fine, each as `severity: text`.
    private func judged(_ findings: [Finding]) -> [String] {
        findings.filter { $0.severity != .fine }.map { "\($0.severity) \($0.subject): \($0.text)" }
    }

    private func judged(_ one: TableFacts, on version: Int = 150_000, _ publication: Publication? = nil) -> [String] {
        judged(
            Preflight.tables(
                [one], patterns: [TablePattern(schema: "public", table: one.name)], server: server(version: version),
                publication: publication))
    }

    @Test func aServerThatHasAllIsFine() {
        #expect(judged(Preflight.server(server(), hasSlot: false)).isEmpty)
        // What is ours already need not be free.
        #expect(judged(Preflight.server(server(slots: (10, 10)), hasSlot: true)).isEmpty)
        #expect(
            judged(Preflight.server(server(senders: (4, 4)), hasSlot: true, isStreaming: true)) == [
                "warning max_wal_senders: all 4 are in use, one by the stream itself: replay and verify have none"
            ])
        #expect(judged(Preflight.server(server(mayReplicate: false, isSuperuser: true), hasSlot: false)).isEmpty)
        #expect(judged(Preflight.server(server(libraries: "test_decoding, pgoutput"), hasSlot: false)).isEmpty)
        #expect(judged(Preflight.server(server(version: 160_000, isInRecovery: true), hasSlot: false)).isEmpty)
    }

    @Test func whatAServerLacks() {
        func lacks(_ facts: ServerFacts) -> [String] { judged(Preflight.server(facts, hasSlot: false)) }
        #expect(lacks(server(walLevel: "replica")) == ["problem wal_level: is replica, must be logical"])
        #expect(lacks(server(slots: (10, 10))) == ["problem max_replication_slots: all 10 are in use"])
        #expect(lacks(server(senders: (4, 4))) == ["problem max_wal_senders: all 4 are in use"])
        #expect(lacks(server(mayReplicate: false)) == ["problem role: sluice may not replicate"])
        #expect(
            lacks(server(libraries: "wal2json")) == [
                "problem output_plugin_libraries: does not allow pgoutput: wal2json"
            ])
        #expect(
            lacks(server(isInRecovery: true)) == [
                "problem server: is a standby: logical decoding there needs PostgreSQL 16"
            ])
        #expect(lacks(server(encoding: "LATIN1")).first?.hasPrefix("warning encoding: the database is LATIN1") == true)
        #expect(lacks(server(encoding: "SQL_ASCII")).first?.contains("converts nothing") == true)
        #expect(lacks(server(kept: -1)).first?.hasPrefix("warning max_slot_wal_keep_size") == true)
    }

    /// The server takes any walsender whose application name fits, also one of logical replication: commits then wait for Kafka.
    @Test(arguments: [
        ("", false), ("*", true), ("sluice.gold", true), ("replica", false), ("\"SLUICE.gold\", b", true),
        ("FIRST 2 (a, *)", true), ("ANY 1 (a, \"sluice.gold\")", true), ("1 (sluice.gold2)", false),
        ("FIRST 1 (\"a,sluice.gold\", b)", false),
    ])
    func aStreamThatCommitsWouldWaitFor(names: String, isTaken: Bool) {
        let found = Preflight.synchrony(server(synchronous: names), applicationName: "sluice.gold")
        #expect(found.map(\.severity) == (isTaken ? [.warning] : []), "\(names)")
        #expect(Preflight.synchrony(server(isInRecovery: true, synchronous: names), applicationName: "x").isEmpty)
    }

    @Test func whoMayPublish() {
        func rights(_ tables: [TableFacts], _ facts: ServerFacts) -> [Finding] {
            Preflight.rights(toPublish: tables, facts, "gold", statement: "CREATE PUBLICATION p")
        }
        #expect(rights([table()], server()).isEmpty)
        #expect(
            rights([table()], server(canCreate: false)).first?.fixes == [
                "GRANT CREATE ON DATABASE \"gold\" TO \"sluice\";"
            ])
        // To be let make one is of no use to a role that owns not all tables.
        let foreign = rights([table(), table(2, isOwner: false)], server(canCreate: false))
        #expect(foreign.count == 1 && foreign[0].severity == .problem && foreign[0].text.contains("public.t2"))
        #expect(foreign[0].fixes == ["CREATE PUBLICATION p; -- as the owner of all these tables"])
    }

    @Test func tablesThatCannotBeStreamed() {
        #expect(judged(table()).isEmpty)
        #expect(judged(table(kind: .view)).first?.contains("is no ordinary table") == true)
        #expect(judged(table(persistence: .unlogged)).first?.contains("is unlogged") == true)
        #expect(judged(table(key: nil)).first?.contains("has no usable key") == true)
        #expect(judged(table(identity: .nothing)).first?.contains("has no usable key") == true)
        #expect(judged(table(identity: .index)).first?.contains("has no usable key") == true)
        #expect(judged(table(identity: .index, key: nil, index: ["v"])).isEmpty)
        #expect(
            judged(table(identity: .full, key: nil)).first?.hasSuffix(
                "FULL and no primary key: its rows cannot be keyed") == true)
        #expect(judged(table(identity: .full, isDeferrable: true)).first?.contains("never deferred") == true)
        let missing = Preflight.tables(
            [], patterns: [TablePattern(schema: "public", table: "a"), TablePattern(schema: "public", table: "b*")],
            server: server(), publication: nil)
        #expect(missing.map(\.severity) == [.problem, .warning])
    }

    @Test func aDeferrableKeyIsMadeAnew() throws {
        let found = Preflight.tables(
            [table(key: ["id", "V b"], isDeferrable: true)], patterns: [TablePattern(schema: "public", table: "t1")],
            server: server(), publication: nil)
        #expect(
            try #require(found.first).fixes == [
                #"ALTER TABLE "public"."t1" DROP CONSTRAINT "pk", ADD PRIMARY KEY ("id", "V b");"#
            ])
    }

    /// Trap 61: 18 refuses the application's UPDATE and DELETE; before, the record lacks its key.
    @Test(arguments: [150_000, 180_000])
    func generatedColumns(version: Int) {
        let refuses = version >= 180_000
        let stored = ["g": ColumnFacts.Generated.stored]
        #expect(judged(table(generated: stored), on: version).isEmpty)
        #expect(judged(table(generated: ["g": .virtual]), on: version).isEmpty)
        for kind in [ColumnFacts.Generated.stored, .virtual] {
            let found = judged(table(identity: .full, generated: ["g": kind]), on: version)
            #expect(found.count == 1 && found[0].hasPrefix(refuses ? "problem" : "warning"))
        }
        for one in [
            table(key: ["id", "g"], generated: stored), table(identity: .index, index: ["g"], generated: stored),
            table(identity: .full, key: ["g"], generated: stored),
        ] {
            let found = judged(one, on: version)
            #expect(
                found.count == 1 && found[0].hasPrefix("problem table public.t1: is keyed by a generated column, g"))
        }
        // Where they are sent, by the publication's option or its list, there is nothing to be said; that is 18's alone.
        let sending = publication([published(1)], sendsGenerated: true)
        let listing = publication([published(1, columns: ["id", "g"])])
        for one in [sending, listing] {
            #expect(judged(table(key: ["id", "g"], generated: stored), on: version, one).isEmpty == refuses)
        }
        #expect(judged(table(identity: .full, generated: stored), on: version, sending).isEmpty == refuses)
        #expect(!judged(table(identity: .full, generated: ["g": .virtual]), on: version, sending).isEmpty)
    }

    /// What one finding says must not hide another.
    @Test func allIsSaidOfATable() {
        let found = judged(
            table(
                kind: .partitionedTable, identity: .full, leaves: [2, 3, 4],
                weak: [TableFacts.WeakLeaf(name: "public.a", identity: .nothing)], unlogged: ["public.b"],
                foreign: ["public.c"], heirs: ["public.h"], generated: ["g": .stored], canSelect: false,
                hasRowSecurity: true))
        #expect(found.count == 7, "\(found)")
        #expect(found.filter { $0.hasPrefix("problem") }.count == 2)
        let weak = table(
            kind: .partitionedTable, identity: .full, leaves: [2],
            weak: [TableFacts.WeakLeaf(name: "public.a", identity: .primaryKey)])
        #expect(judged(weak).first?.hasPrefix("warning") == true)
    }

    @Test func moneyIsWarnedOf() {
        let money = table(types: ["v": 790])
        #expect(judged(money).count == 1 && judged(money)[0].hasPrefix("warning table public.t1: column v is money"))
        #expect(judged(table(types: ["v": 791])).count == 1)
        #expect(judged(table(types: ["v": 20_000], domains: ["v": 790])).count == 1)
    }

    @Test func keysThatMayBeWrittenAlikeAreWarnedOf() {
        for zoned in [table(types: ["id": 1266]), table(types: ["id": 20_000], domains: ["id": 1266])] {
            let found = judged(zoned)
            #expect(found.count == 1 && found[0].hasPrefix("warning table public.t1: is keyed by id, a time with time"))
        }
        let array = judged(table(types: ["id": 1007], arrays: ["id"]))
        #expect(array.count == 1 && array[0].hasPrefix("warning table public.t1: is keyed by id, an array"))
        #expect(judged(table(types: ["v": 1266, "g": 1007], arrays: ["g"])).isEmpty, "not of the key")
        // The record's key, not what the server keeps of an old row.
        #expect(judged(table(identity: .full, types: ["v": 1266])).isEmpty)
        #expect(judged(table(identity: .index, index: ["v"], types: ["id": 1266])).isEmpty)
    }

    @Test func aPartitionBesideItsRootIsRefused() {
        let tables = [
            table(1, kind: .partitionedTable, leaves: [2]), table(2, root: 1), table(3), table(4, root: 9),
        ]
        func found(_ publication: Publication?) -> [String] {
            judged(
                Preflight.tables(
                    tables, patterns: (1...4).map { TablePattern(schema: "public", table: "t\($0)") },
                    server: server(), publication: publication))
        }
        #expect(found(nil) == ["problem table public.t2: is a partition of public.t1, under whose name its rows come"])
        #expect(found(publication([])).count == 1)
        #expect(found(publication([], viaRoot: false)).isEmpty)
    }

    @Test func faultsOfAPublication() {
        let wanted = [table(1), table(2, kind: .partitionedTable, leaves: [3, 4])]
        let both = ["t1", "t2"].map { TablePattern(schema: "public", table: $0) }
        let leaves = both + [TablePattern(schema: "public", table: "t?")]
        func faults(_ publication: Publication, _ patterns: [TablePattern], _ tables: [TableFacts]? = nil) -> [String] {
            publication.faults(of: tables ?? wanted, patterns: patterns).map(\.text)
        }
        #expect(faults(publication([published(1), published(2)]), both).isEmpty)
        #expect(faults(publication([published(1)]), both) == ["does not publish public.t2"])
        #expect(faults(publication([published(1), published(2)], delete: false), both) == ["does not publish delete"])
        #expect(
            faults(publication([published(1, columns: ["v"]), published(2)]), both) == [
                "lists columns of public.t1 without id, which is part of its key"
            ])
        let apart = publication([published(1), published(3), published(4)], viaRoot: false)
        #expect(
            faults(apart, both).first?.hasPrefix("sends the rows of public.t2 under the names of its partitions")
                == true)
        #expect(faults(apart, leaves).isEmpty)
        let half = publication([published(1), published(3)], viaRoot: false)
        #expect(faults(half, leaves) == ["does not publish all partitions of public.t2"])
        // What can never be published is not missed; that an unlogged one cannot is a fault of its own.
        let foreign = table(2, kind: .partitionedTable, leaves: [3, 4], foreign: ["public.t4"])
        #expect(faults(half, leaves, [wanted[0], foreign]).isEmpty)
        let unlogged = table(2, kind: .partitionedTable, leaves: [3, 4], unlogged: ["public.t4"])
        #expect(
            faults(half, leaves, [wanted[0], unlogged]) == [
                "cannot send the rows of public.t4, an unlogged partition of public.t2"
            ])
    }

    /// What ADD TABLE would fail of, or change nothing.
    @Test func theCureOfWhatCannotBeAdded() throws {
        func fault(_ table: TableFacts, _ publication: Publication) throws -> PublicationFault {
            try #require(publication.faults(of: [table], patterns: []).first)
        }
        for isAll in [false, true] {
            let none = publication([], all: isAll)
            let unlogged = try fault(table(persistence: .unlogged), none)
            #expect(unlogged.text == "cannot send the rows of public.t1, which is unlogged")
            #expect(unlogged.cure == #"ALTER TABLE "public"."t1" SET LOGGED"#)
            let view = try fault(table(kind: .materializedView), none)
            #expect(view.text == "cannot send the rows of public.t1, which is a materialized view")
            #expect(
                view.cure.hasPrefix(#"ALTER MATERIALIZED VIEW "public"."t1" RENAME TO ...; ALTER TABLE ... RENAME"#))
            let part = try fault(table(2, root: 1), publication([published(1)], all: isAll))
            #expect(part.text.hasPrefix("sends the rows of public.t2 under the name of public.t1"))
            #expect(part.cure == #"ALTER PUBLICATION "p" SET (publish_via_partition_root = false)"#)
            for fault in [unlogged, view, part] { #expect(!fault.isForInit && !fault.isAbsent) }
        }
        let empty = try fault(table(kind: .partitionedTable), publication([], viaRoot: false, all: true))
        #expect(empty.cure == #"ALTER PUBLICATION "p" SET (publish_via_partition_root = true)"#)
        let absent = try fault(table(), publication([]))
        #expect(absent.cure == #"ALTER PUBLICATION "p" ADD TABLE "public"."t1""# && absent.isAbsent)
    }

    @Test func whatIsSaidOfAPublication() {
        func found(_ one: Publication?) -> [String] {
            judged(
                Preflight.publication(
                    one, named: "p", wanted: [table()], patterns: [TablePattern(schema: "public", table: "t1")]))
        }
        #expect(found(nil) == ["problem publication p: does not exist"])
        #expect(found(publication([published(1)])).isEmpty)
        #expect(
            found(publication([])) == [
                "problem publication p: does not publish public.t1: such changes are not streamed"
            ])
        #expect(found(publication([published(1)], truncate: false)).first?.hasPrefix("warning") == true)
    }
}
