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

    private var known: [UInt32: TableFacts] = [:]
    /// The table that each name was seen for last.
    private var holders: [String: UInt32] = [:]
    /// Those of the last look.
    private var last: Set<UInt32> = []

    package init() {}

    /// What has changed since the look before.
    package mutating func see(_ tables: [TableFacts]) -> [Change] {
        var changes = tables.flatMap(changes)
        changes += gone(tables)
        // One that is gone stays known, since another may take its place; but not ever more of them.
        if max(known.count, holders.count) > 2 * tables.count + 1000 { (known, holders) = ([:], [:]) }
        for table in tables {
            known[table.oid] = table
            holders[table.qualifiedName] = table.oid
        }
        last = Set(tables.map(\.oid))
        return changes
    }

    /// Tables that are not among those that are wanted any more: dropped, or renamed away. One whose name another has is told of as
    /// that one, and what became a partition comes as its root's.
    private func gone(_ tables: [TableFacts]) -> [Change] {
        let names = Set(tables.map(\.qualifiedName))
        let leaves = Set(tables.flatMap(\.partitionLeaves))
        return last.subtracting(tables.map(\.oid)).sorted().compactMap { known[$0] }.filter { table in
            let parts = table.kind == .partitionedTable ? table.partitionLeaves : [table.oid]
            return !names.contains(table.qualifiedName) && (parts.isEmpty || !leaves.isSuperset(of: parts))
        }.map { table in
            Change(
                table: table.qualifiedName,
                text:
                    "was dropped, or has a name that postgres.tables does not match: its rows so far stay in its topic, "
                    + "and what comes later is passed over", movesRows: true)
        }
    }

    private func changes(of now: TableFacts) -> [Change] {
        func change(_ text: String, movesRows: Bool) -> Change {
            Change(table: now.qualifiedName, text: text, movesRows: movesRows)
        }
        var changes: [Change] = []
        if let holder = holders[now.qualifiedName], holder != now.oid {
            changes.append(
                change("is another table by the same name: rows of the one before it stay downstream", movesRows: true))
        }
        guard let before = known[now.oid] else { return changes }
        if now.qualifiedName != before.qualifiedName {
            changes.append(
                change(
                    "was \(before.qualifiedName) until now: its rows so far are in that one's topic", movesRows: true))
        }
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
