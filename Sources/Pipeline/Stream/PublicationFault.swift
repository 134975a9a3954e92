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
    /// Whether `init` may do so: else it is the table that is to be changed, or a choice is to be made.
    package var isForInit: Bool
    /// Whether nothing of the table is published.
    package var isAbsent: Bool

    package init(
        table: String? = nil, _ text: String, cure: String, isForInit: Bool = true, isAbsent: Bool = false
    ) {
        self.isForInit = isForInit
        self.isAbsent = isAbsent
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
        let published = Dictionary(tables.map { ($0.oid, $0) }, uniquingKeysWith: { first, _ in first })
        var faults = wanted.flatMap { table -> [PublicationFault] in
            let own = table.qualifiedName
            if let fault = table.faultOfKind { return [fault] }
            let add = "\(alter) ADD TABLE \(Quoting.qualified(table.schema, table.name))"
            let unlogged = table.unloggedLeaves.map { leaf in
                PublicationFault(
                    table: own, "cannot send the rows of \(leaf), an unlogged partition of \(own)",
                    cure: "ALTER TABLE \(leaf) SET LOGGED", isForInit: false)
            }
            if let found = published[table.oid] {
                return unlogged + [found.faultOfKey(table, alter: alter)].compactMap(\.self)
            }
            let partitions = table.partitionLeaves.compactMap { published[$0] }
            guard !partitions.isEmpty else {
                return [
                    faultOfPlace(table, published, alter: alter)
                        ?? PublicationFault(table: own, "does not publish \(own)", cure: add, isAbsent: true)
                ]
            }
            guard partitions.allSatisfy({ $0.matches(patterns) }) else {
                let root = "\(alter) SET (publish_via_partition_root = true)"
                return [
                    PublicationFault(
                        table: own,
                        "sends the rows of \(own) under the names of its partitions, which postgres.tables does not match",
                        // Where it names the partitions themselves, there is no root for them to be sent as.
                        cure: partitions.contains(where: \.isNamed) ? "\(add); \(root)" : root)
                ]
            }
            // Neither a foreign table nor an unlogged one can be published; the second is a fault of its own.
            let publishable = table.partitionLeaves.count - table.foreignLeaves.count - table.unloggedLeaves.count
            guard partitions.count >= publishable else {
                return unlogged + [PublicationFault(table: own, "does not publish all partitions of \(own)", cure: add)]
            }
            return unlogged
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
}

extension Publication {
    /// A table that is not published by its own name, and is not to be added: the publication has it, as part of another, or because it
    /// has all.
    private func faultOfPlace(
        _ table: TableFacts, _ published: [UInt32: PublishedTable], alter: String
    ) -> PublicationFault? {
        let own = table.qualifiedName
        if let root = table.partitionRoot.flatMap({ published[$0] }) {
            return PublicationFault(
                table: own,
                "sends the rows of \(own) under the name of \(root.qualifiedName), of which it is a partition",
                cure: "\(alter) SET (publish_via_partition_root = false)", isForInit: false)
        }
        guard publishesAllTables else { return nil }
        return PublicationFault(
            table: own, "does not publish \(own), which has no partitions yet",
            cure: "\(alter) SET (publish_via_partition_root = true)")
    }
}

extension TableFacts {
    /// What stands by the name and is in no stream, whatever is published: to add it would fail.
    fileprivate var faultOfKind: PublicationFault? {
        let sql = Quoting.qualified(schema, name)
        guard kind.isDecoded else {
            return PublicationFault(
                table: qualifiedName, "cannot send the rows of \(qualifiedName), which is a \(kind.title)",
                cure: "ALTER \(kind.title.uppercased()) \(sql) RENAME TO ...; ALTER TABLE ... RENAME TO "
                    + "\(Quoting.identifier(name)) -- where it has taken a table's place", isForInit: false)
        }
        guard persistence == .unlogged else { return nil }
        return PublicationFault(
            table: qualifiedName, "cannot send the rows of \(qualifiedName), which is unlogged",
            cure: "ALTER TABLE \(sql) SET LOGGED", isForInit: false)
    }
}

extension TableFacts.Kind {
    fileprivate var title: String {
        switch self {
        case .table: "table"
        case .partitionedTable: "partitioned table"
        case .view: "view"
        case .materializedView: "materialized view"
        case .foreignTable: "foreign table"
        }
    }
}

extension PublishedTable {
    /// Whether its rows are wanted.
    func matches(_ patterns: [TablePattern]) -> Bool {
        isNamedInUTF8 && patterns.match(schema: schema, table: name)
    }

    /// A list of columns that lacks some of the key: the server takes it, and refuses the table's UPDATE and DELETE from then on.
    fileprivate func faultOfKey(_ table: TableFacts, alter: String) -> PublicationFault? {
        guard let columns else { return nil }
        let lacking = (table.identityColumns ?? []).filter { !columns.contains($0) }
        guard let first = lacking.first else { return nil }
        return PublicationFault(
            table: qualifiedName, "lists columns of \(qualifiedName) without \(first), which is part of its key",
            // Another list in one step, so that nothing is passed over in between.
            cure: "\(alter) SET TABLE ... -- all its tables, \(qualifiedName) with \(first)", isForInit: false)
    }
}
