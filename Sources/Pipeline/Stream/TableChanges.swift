package import Postgres

/// What was done to tables as a whole, which no stream shows: seen from one look at the catalog to the next.
package struct TableChanges {
    /// A change, to follow the table's name.
    package struct Change: Equatable, Sendable {
        package var table: String
        package var text: String
        /// Whether rows may be in the tables and not downstream, or the other way round, until somebody mends it.
        package var movesRows: Bool
    }

    private var known: [String: TableFacts] = [:]

    package init() {}

    /// What has changed since the look before.
    package mutating func see(_ tables: [TableFacts]) -> [Change] {
        let changes = tables.flatMap { table in
            known[table.qualifiedName].map { Self.changes(of: table, since: $0) } ?? []
        }
        // One that is gone stays known, since another may take its place; but not ever more of them.
        if known.count > 2 * tables.count + 1000 { known.removeAll() }
        for table in tables { known[table.qualifiedName] = table }
        return changes
    }

    private static func changes(of now: TableFacts, since before: TableFacts) -> [Change] {
        func change(_ text: String, movesRows: Bool) -> Change {
            Change(table: now.qualifiedName, text: text, movesRows: movesRows)
        }
        guard now.oid == before.oid else {
            return [
                change("is another table by the same name: rows of the one before it stay downstream", movesRows: true)
            ]
        }
        var changes: [Change] = []
        let (gone, come) = (
            Set(before.partitionLeaves).subtracting(now.partitionLeaves).count,
            Set(now.partitionLeaves).subtracting(before.partitionLeaves).count
        )
        if gone > 0 {
            changes.append(
                change("has lost \(gone) of its partitions: no deletes are sent for their rows", movesRows: true))
        }
        if come > 0 {
            changes.append(
                change("has \(come) partitions more: rows that they held before are not sent", movesRows: false))
        }
        let (old, new) = (before.columns.map(\.title), now.columns.map(\.title))
        let differences =
            new.filter { !old.contains($0) }.map { "+\($0)" } + old.filter { !new.contains($0) }.map { "-\($0)" }
        if !differences.isEmpty {
            changes.append(
                change(
                    "has other columns (\(differences.joined(separator: ", "))): of rows as they are nothing is sent",
                    movesRows: false))
        }
        return changes
    }
}

extension ColumnFacts {
    fileprivate var title: String { "\(name) \(typeName)" }
}
