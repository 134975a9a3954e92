import Testing

@testable import Pipeline
@testable import Postgres

@Suite struct TableChangesTests {
    private func table(_ oid: UInt32, _ name: String = "t", leaves: [UInt32] = [], columns: [String] = ["id", "v"])
        -> TableFacts
    {
        TableFacts(
            oid: oid, schema: "public", name: name, kind: leaves.isEmpty ? .table : .partitionedTable,
            persistence: .permanent, replicaIdentity: .primaryKey, partitionRoot: nil, partitionLeaves: leaves,
            weakLeaves: [], unloggedLeaves: [], foreignLeaves: [], heirs: [], primaryKey: nil, identityIndex: nil,
            columns: columns.enumerated().map { index, name in
                ColumnFacts(
                    number: Int16(index + 1), name: name, typeOID: 23, typeModifier: -1, typeName: "integer",
                    isNotNull: false, generated: .never)
            }, estimatedRows: -1, canSelect: true, isOwner: true, hasRowSecurity: false)
    }

    @Test func whatStaysIsNoChange() {
        var changes = TableChanges()
        #expect(changes.see([table(1), table(2, "p", leaves: [3, 4])]).isEmpty)
        #expect(changes.see([table(1), table(2, "p", leaves: [4, 3]), table(9, "new")]).isEmpty)
    }

    @Test func anotherTableByTheSameNameIsToldOf() {
        var changes = TableChanges()
        _ = changes.see([table(1)])
        #expect(changes.see([]).isEmpty)
        let seen = changes.see([table(7, columns: ["other"])])
        #expect(seen.map(\.table) == ["public.t"] && seen.allSatisfy(\.movesRows))
        #expect(changes.see([table(7, columns: ["other"])]).isEmpty, "once")
    }

    @Test func partitionsThatGoTakeRowsWithThem() {
        var changes = TableChanges()
        _ = changes.see([table(1, leaves: [2, 3])])
        let seen = changes.see([table(1, leaves: [3, 4, 5])])
        #expect(seen.map(\.movesRows) == [true, false])
        #expect(seen[0].text.contains("lost 1 of its") && seen[1].text.contains("2 partitions more"))
    }

    @Test func otherColumnsAreNamed() {
        var changes = TableChanges()
        _ = changes.see([table(1)])
        let seen = changes.see([table(1, columns: ["id", "w"])])
        #expect(seen.count == 1 && seen[0].text.contains("(+w integer, -v integer)") && !seen[0].movesRows)
    }
}
