import Testing

@testable import Pipeline
@testable import Postgres

@Suite struct TableChangesTests {
    private func table(
        _ oid: UInt32, _ name: String = "t", schema: String = "public", leaves: [UInt32] = [],
        columns: [String] = ["id", "v"]
    ) -> TableFacts {
        TableFacts(
            oid: oid, schema: schema, name: name, kind: leaves.isEmpty ? .table : .partitionedTable,
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
        _ = changes.see([])
        let seen = changes.see([table(7, columns: ["other"])])
        #expect(seen.map(\.table) == ["public.t"] && seen.allSatisfy(\.movesRows))
        #expect(changes.see([table(7, columns: ["other"])]).isEmpty, "once")
    }

    @Test func anotherNameOrSchemaIsToldOf() {
        var changes = TableChanges()
        _ = changes.see([table(1, "ren_gold"), table(2, "other")])
        let seen = changes.see([table(1, "neu_gold", columns: ["id"]), table(2, "other")])
        #expect(seen.map(\.table) == ["public.neu_gold", "public.neu_gold"] && seen.map(\.movesRows) == [true, false])
        #expect(seen[0].text == "was public.ren_gold until now: its rows so far are in that one's topic")
        #expect(changes.see([table(1, "neu_gold", columns: ["id"]), table(2, "other")]).isEmpty, "once")
        let moved = changes.see([table(1, "neu_gold", schema: "gold", columns: ["id"]), table(2, "other")])
        #expect(moved.map(\.table) == ["gold.neu_gold"] && moved.map(\.movesRows) == [true])
        // And back, though it is known by that name.
        let back = changes.see([table(1, "ren_gold", columns: ["id"]), table(2, "other")])
        #expect(back.map(\.text) == ["was gold.neu_gold until now: its rows so far are in that one's topic"])
    }

    /// `t` becomes `t_old`, and `t_new` becomes `t`: each has another's topic from then on.
    @Test func bothTablesOfASwapAreToldOf() {
        var changes = TableChanges()
        _ = changes.see([table(1, "t"), table(2, "t_new")])
        let seen = changes.see([table(2, "t"), table(1, "t_old")])
        #expect(seen.map(\.table) == ["public.t", "public.t", "public.t_old"] && seen.allSatisfy(\.movesRows))
        #expect(seen[0].text.hasPrefix("is another table") && seen[1].text.hasPrefix("was public.t_new until now"))
        #expect(seen[2].text.hasPrefix("was public.t until now"))
    }

    @Test func oneThatIsNotMatchedAnyMoreIsToldOf() {
        var changes = TableChanges()
        _ = changes.see([table(1, "a"), table(2, "b"), table(3, "root", leaves: [4]), table(5, "leaf")])
        // One becomes a partition of another that is wanted: its rows come under that one's name.
        let seen = changes.see([table(1, "a"), table(3, "root", leaves: [4, 5])])
        #expect(seen.map(\.table) == ["public.root", "public.b"] && seen.map(\.movesRows) == [false, true])
        #expect(seen[1].text.hasPrefix("was dropped, or has a name that postgres.tables does not match"))
        #expect(changes.see([table(1, "a"), table(3, "root", leaves: [4, 5])]).isEmpty, "once")
        let other = changes.see([table(9, "a"), table(3, "root", leaves: [4, 5])])
        #expect(other.count == 1 && other[0].text.hasPrefix("is another table"))
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
