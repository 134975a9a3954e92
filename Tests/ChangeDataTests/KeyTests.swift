import ChangeData
import Testing

/// Keys of rows from when their table had none.
@Suite struct KeyTests {
    /// A relation none of whose columns is flagged.
    private func keyless(_ identity: Relation.ReplicaIdentity) -> Relation {
        var relation = Build.table(identity: identity)
        for index in relation.columns.indices { relation.columns[index].isKey = false }
        return relation
    }

    private func feed(
        _ identity: Relation.ReplicaIdentity, _ description: TableDescription, _ row: [Build.Value]
    ) -> (keys: [String?], errors: [ChangeDataError]) {
        let session = Session { _ in description }
        let outputs = EncoderTests.feed(
            session, [Build.begin(1000), Build.relation(keyless(identity)), Build.insert(100, row)])
        return (outputs.map(\.key), session.errors)
    }

    @Test(arguments: [Relation.ReplicaIdentity.default, .index])
    func theCatalogsKeyIsThatOfARowFromBeforeIt(identity: Relation.ReplicaIdentity) {
        let row: [Build.Value] = [.text("1"), .text("x"), .text("2")]
        let cases: [(TableDescription, String)] = [
            (TableDescription(primaryKey: ["id"]), #"{"id":1}"#),
            (TableDescription(primaryKey: ["w", "id"]), #"{"w":2,"id":1}"#),
            // What later rows are keyed by.
            (TableDescription(primaryKey: ["id"], identityIndex: ["w"]), #"{"w":2}"#),
            (TableDescription(primaryKey: [], identityIndex: ["w"]), #"{"w":2}"#),
        ]
        for (description, key) in cases {
            let seen = feed(identity, description, row)
            #expect(seen.keys == [key] && seen.errors.isEmpty)
        }
    }

    /// Two such rows would be one downstream.
    @Test func aNullInItIsRefused() {
        let seen = feed(.default, TableDescription(primaryKey: ["w"]), EncoderTests.row(1))
        let table = TableName(schema: "public", name: "t")
        #expect(seen.keys.isEmpty)
        #expect(seen.errors == [.unrepresentable(table: table, column: "w", why: .nullKey, at: LSN(500))])
    }

    @Test(arguments: [Relation.ReplicaIdentity.default, .index, .nothing])
    func whereThereIsNoneTheWayOutOfThisRowIsNamed(identity: Relation.ReplicaIdentity) throws {
        for description in [TableDescription(primaryKey: []), TableDescription(primaryKey: ["id", "later"])] {
            let seen = feed(identity, description, EncoderTests.row(1))
            let table = TableName(schema: "public", name: "t")
            #expect(seen.keys.isEmpty && seen.errors == [.noKey(table: table, identity: identity, at: LSN(500))])
            let text = try #require(seen.errors.first).description
            #expect(text.contains("this one where it has these columns; else see ops/runbooks/exit-5.md"))
        }
    }
}
