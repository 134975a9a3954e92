/// How one column is written: its rule, and where in the plan's templates its `,"name":` lies.
struct ColumnPlan {
    var column: Int
    var template: Range<Int>
    var rule: ValueRule
    /// Part of the replica identity: there in a `K` tuple.
    var isIdentity: Bool
    /// Of the key, where the server has it from an index: its columns are NOT NULL.
    var isNeverNull = false
}

/// All that writing a table's rows needs, worked out once when the table is defined.
final class TablePlan: Sendable {
    let relation: Relation
    /// The indices of its topic and its name in the encoder's lists; -1 before the first row.
    let topic: Int32
    let table: Int32
    /// In table order.
    let columns: [ColumnPlan]
    /// In the key's order; empty: the table has no usable key.
    let key: [ColumnPlan]
    /// The constant bytes that the ranges mean.
    let templates: [UInt8]
    /// `"schema","table":"name","txId":`
    let source: Range<Int>

    init(_ relation: Relation, _ description: TableDescription, format: EventFormat) {
        self.relation = relation
        topic = -1
        table = -1
        var templates = ByteBuffer()

        func plan(_ index: Int, isFirst: Bool, isKey: Bool) -> ColumnPlan {
            let column = relation.columns[index]
            let start = templates.count
            templates.append(UInt8(ascii: isFirst ? "{" : ","))
            templates.append(jsonString: column.name)
            templates.append(UInt8(ascii: ":"))
            let rule = ValueRule(
                type: column.typeOID, modifier: column.modifier, types: description.types, format: format, isKey: isKey)
            return ColumnPlan(
                column: index, template: start..<templates.count, rule: rule, isIdentity: column.isKey,
                isNeverNull: isKey && [.default, .index].contains(relation.replicaIdentity))
        }

        var columns: [ColumnPlan] = []
        for index in relation.columns.indices { columns.append(plan(index, isFirst: index == 0, isKey: false)) }
        self.columns = columns
        var key: [ColumnPlan] = []
        for index in TablePlan.keyColumns(relation, description) {
            key.append(plan(index, isFirst: key.isEmpty, isKey: true))
        }
        self.key = key
        let start = templates.count
        templates.append(jsonString: relation.table.schema)
        templates.append(",\"table\":")
        templates.append(jsonString: relation.table.name)
        templates.append(",\"txId\":")
        source = start..<templates.count
        self.templates = templates.copy()
    }

    /// The same plan with its places.
    init(_ plan: TablePlan, topic: Int32, table: Int32) {
        relation = plan.relation
        columns = plan.columns
        key = plan.key
        templates = plan.templates
        source = plan.source
        self.topic = topic
        self.table = table
    }

    /// The key's columns. DEFAULT and INDEX: those flagged in the relation, which is valid for the rows that follow,
    /// in the order of the index's definition where the catalog, which may be ahead, still has the same set. FULL flags
    /// every column and NOTHING none: the catalog's primary key. So it is for a row from when the table had no identity (the server
    /// refused all but inserts then): by what identifies the rows behind it.
    private static func keyColumns(_ relation: Relation, _ description: TableDescription) -> [Int] {
        func indices(_ names: [String]) -> [Int]? {
            let found = names.compactMap { name in relation.columns.firstIndex { $0.name == name } }
            return found.count == names.count ? found : nil
        }
        switch relation.replicaIdentity {
        case .full, .nothing: return indices(description.primaryKey) ?? []
        case .default, .index:
            let flagged = relation.columns.indices.filter { relation.columns[$0].isKey }
            guard !flagged.isEmpty else {
                let hasIndex = !description.identityIndex.isEmpty
                return indices(hasIndex ? description.identityIndex : description.primaryKey) ?? []
            }
            let order = relation.replicaIdentity == .default ? description.primaryKey : description.identityIndex
            guard let found = indices(order), Set(found) == Set(flagged) else { return flagged }
            return found
        }
    }
}

extension ByteBuffer {
    /// A copy as an array.
    public borrowing func copy() -> [UInt8] {
        withSpan { bytes in
            var array: [UInt8] = []
            array.reserveCapacity(bytes.count)
            for index in bytes.indices { array.append(bytes[index]) }
            return array
        }
    }
}
