package import Postgres

/// Why changes of wanted tables do not come, or come under a name that nobody wants, and what mends it (C8). The server says
/// nothing of either.
package struct PublicationFault: Equatable, Sendable {
    /// The table, `schema.table`; nil where it is all of them.
    package var table: String?
    /// What is wrong, to follow the publication's name.
    package var text: String
    /// The statement that mends it.
    package var cure: String

    package init(table: String? = nil, _ text: String, cure: String) {
        self.table = table
        self.text = text
        self.cure = cure
    }
}

extension Publication {
    /// What is wrong with it, first of the tables.
    /// - Parameters:
    ///   - wanted: the tables that the configuration names.
    ///   - patterns: what it names them by.
    package func faults(of wanted: [TableFacts], patterns: [TablePattern]) -> [PublicationFault] {
        let alter = "ALTER PUBLICATION \(Quoting.identifier(name))"
        var faults = wanted.compactMap { table -> PublicationFault? in
            let own = table.qualifiedName
            switch way(of: table, patterns) {
            case .itself: return nil
            case .none:
                return PublicationFault(
                    table: own, "does not publish \(own)",
                    cure: "\(alter) ADD TABLE \(Quoting.qualified(table.schema, table.name))")
            case .unwantedNames:
                return PublicationFault(
                    table: own,
                    "sends the rows of \(own) under the names of its partitions, which postgres.tables does not match",
                    cure: "\(alter) SET (publish_via_partition_root = true)")
            }
        }
        let missing = [("insert", insert), ("update", update), ("delete", delete)].filter { !$0.1 }.map(\.0)
        if !missing.isEmpty {
            faults.append(
                PublicationFault(
                    "does not publish \(missing.joined(separator: " and "))",
                    cure: "\(alter) SET (publish = 'insert, update, delete\(truncate ? ", truncate" : "")')"))
        }
        return faults
    }

    private enum Way { case itself, unwantedNames, none }

    /// How a table's rows come: under names that are wanted, its own or its partitions', or not.
    private func way(of table: TableFacts, _ patterns: [TablePattern]) -> Way {
        if tables.contains(where: { $0.oid == table.oid }) { return .itself }
        let partitions = tables.filter { table.partitionLeaves.contains($0.oid) }
        if partitions.isEmpty { return .none }
        return partitions.allSatisfy { $0.matches(patterns) } ? .itself : .unwantedNames
    }
}

extension PublishedTable {
    /// Whether its rows are wanted.
    func matches(_ patterns: [TablePattern]) -> Bool {
        patterns.contains { $0.matches(schema: schema, table: name) }
    }
}
