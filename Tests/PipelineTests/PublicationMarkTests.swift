import Testing

@testable import Pipeline
@testable import Postgres

/// A table that was taken out of the publication and put back, and all that only looks like it.
@Suite struct PublicationMarkTests {
    private func table(_ oid: UInt32, _ entries: Set<UInt32>, _ restriction: String? = nil) -> PublishedTable {
        PublishedTable(
            oid: oid, schema: "public", name: "t\(oid)", isNamed: true, isRootNamed: false, columns: nil,
            isFiltered: false, entries: entries, restriction: restriction)
    }

    private func publication(_ tables: PublishedTable...) -> Publication {
        Publication(
            name: "p", oid: 1, publishesAllTables: false, insert: true, update: true, delete: true, truncate: true,
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
    }

    @Test func aTableThatAnotherEntryPublishesStays() {
        let before = publication(table(10, [11, 15]))
        #expect(returned(publication(table(10, [15])), since: before) == ([], []))
        #expect(returned(publication(table(10, [15, 31])), since: before) == ([], []))
        let all = publication(table(10, []))
        #expect(returned(all, since: all) == ([], []))
    }
}
