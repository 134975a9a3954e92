import Testing

@testable import Pipeline
@testable import Postgres

extension PublishedTable {
    fileprivate func listing(_ columns: [String]?) -> PublishedTable {
        PublishedTable(
            oid: oid, schema: schema, name: name, isNamed: isNamed, isRootNamed: isRootNamed, columns: columns,
            isFiltered: isFiltered, entries: entries, schemaEntries: schemaEntries, restriction: restriction)
    }
}

/// A table that was taken out of the publication and put back, and all that only looks like it.
@Suite struct PublicationMarkTests {
    private func table(
        _ oid: UInt32, _ entries: Set<UInt32>, _ restriction: String? = nil, schema: String = "public",
        schemaEntries: Set<UInt32> = [], isRootNamed: Bool = false
    ) -> PublishedTable {
        PublishedTable(
            oid: oid, schema: schema, name: "t\(oid)", isNamed: !entries.isEmpty && !isRootNamed,
            isRootNamed: isRootNamed, columns: nil,
            isFiltered: false, entries: entries, schemaEntries: schemaEntries, restriction: restriction)
    }

    private func publication(_ tables: PublishedTable...) -> Publication {
        Publication(
            name: "p", oid: 1, altered: 7, publishesAllTables: false, insert: true, update: true, delete: true,
            truncate: true,
            viaPartitionRoot: true, publishesGeneratedColumns: false, tables: tables)
    }

    private func returned(_ now: Publication, since before: Publication) -> (mark: [UInt32], exact: [UInt32]) {
        (
            PublicationMark(of: before).returned(in: now).map(\.oid).sorted(),
            now.returned(since: before).map(\.oid).sorted()
        )
    }

    @Test func oneThatCameBackIsFound() {
        let before = publication(table(10, [11]), table(20, [21], "1 2"))
        #expect(returned(before, since: before) == ([], []))
        #expect(returned(publication(table(10, [31]), table(20, [21], "1 2")), since: before) == ([10], [10]))
        #expect(
            returned(publication(table(10, [11]), table(20, [31], "1 2")), since: before) == ([20], [20]),
            "with the list that it had")
    }

    @Test func aNewTableHasNotComeBack() {
        let before = publication(table(10, [11]))
        #expect(returned(publication(table(10, [11]), table(40, [41])), since: before) == ([], []))
        // An old table that is published for the first time: the mark alone cannot tell, and the topic will.
        #expect(returned(publication(table(10, [11]), table(5, [41])), since: before) == ([5], []))
    }

    @Test func anotherListOrFilterMakesANewEntryAndLosesNothing() {
        let before = publication(table(10, [11]), table(20, [21], "1 2"))
        #expect(returned(publication(table(10, [11]), table(20, [31], "1 2 3")), since: before) == ([], []))
        #expect(returned(publication(table(10, [31], "{filter}"), table(20, [21], "1 2")), since: before) == ([], []))
        #expect(returned(publication(table(10, [11]), table(20, [31])), since: before) == ([], []), "taken away")
    }

    @Test func anotherListOrFilterIsToldOf() {
        func changes(_ before: String?, _ now: String?, _ columns: [String]? = nil) -> [String] {
            var old = table(10, [11], before)
            if before?.contains("1") == true { old = old.listing(["id", "v"]) }
            let new = table(10, [31], now).listing(columns)
            let other = table(20, [21], " {x}")
            return publication(new, other).restrictionChanges(
                since: publication(old, other), of: [TablePattern(schema: "public", table: "t10")]
            )
            .map { "\($0.table) \($0.text)" }
        }
        #expect(changes(nil, nil) == [] && changes(" {a}", " {a}") == [] && changes("1 2", "1 2") == [])
        let filtered = "public.t10 has a row filter: rows that it does not let through are not sent"
        #expect(changes(nil, " {a}") == [filtered])
        #expect(changes(" {a}", " {b}").first?.contains("has another row filter") == true)
        #expect(changes(" {a}", nil).first?.contains("has no row filter any more") == true)
        #expect(
            changes(nil, "1 2", ["id", "v"]) == [
                "public.t10 is sent with a list of columns (id, v): what others hold is not sent"
            ])
        #expect(
            changes("1 2", "1 3", ["id", "w"]) == [
                "public.t10 is sent with another list of columns (id, w, before id, v)"
            ])
        #expect(changes("1 2", nil).first?.contains("what others than id, v were given is in no topic") == true)
        let both = changes("1 2 {a}", " {b}").first ?? ""
        #expect(both.contains("another row filter") && both.contains("all its columns again"))
        #expect(changes("1 2 {a}", "1 2", ["id", "v"]).first?.contains("columns") == false, "the list is the same")
    }

    @Test func aTableThatNobodyWantsIsNotToldOf() {
        let changes = publication(table(10, [31], " {a}")).restrictionChanges(
            since: publication(table(10, [11])), of: [TablePattern(schema: "public", table: "other")])
        #expect(changes.isEmpty)
    }

    @Test func whatOneStatementMayDoIsNoLoss() {
        let before = publication(table(10, [11]), table(20, [], schemaEntries: [21]))
        #expect(
            returned(publication(table(10, [], schemaEntries: [31]), table(20, [], schemaEntries: [21])), since: before)
                == ([], []), "its schema in its place")
        #expect(
            returned(
                publication(table(10, [11]), table(20, [], schema: "other", schemaEntries: [31])), since: before)
                == ([], []), "another schema")
        let leaf = publication(table(10, [11], isRootNamed: true))
        #expect(returned(publication(table(10, [5], isRootNamed: true)), since: leaf) == ([], []), "another root")
    }

    @Test func aSchemaThatCameBackIsFoundWhileTheAgentRuns() {
        let before = publication(table(10, [], schemaEntries: [11]))
        #expect(returned(publication(table(10, [], schemaEntries: [31])), since: before).exact == [10])
    }

    @Test func aTableThatAnotherEntryPublishesStays() {
        let before = publication(table(10, [11], schemaEntries: [15]))
        #expect(returned(publication(table(10, [], schemaEntries: [15])), since: before) == ([], []))
        #expect(returned(publication(table(10, [31], schemaEntries: [15])), since: before) == ([], []))
        let all = publication(table(10, []))
        #expect(returned(all, since: all) == ([], []))
    }
}
