/// The columns of a table's primary key and of its identity's index, in the order of the index; empty where there is none.
public struct TableKeys: Sendable, Equatable {
    /// Of the primary key.
    public var primary: [String] = []
    /// Of the index that is the replica identity.
    public var identity: [String] = []

    fileprivate init(_ indexes: KeyIndexes) {
        primary = indexes.primary?.columns ?? []
        identity = indexes.identity?.columns ?? []
    }
}

/// The keys of many tables, asked for at one moment.
public struct PublishedKeys: Sendable, Equatable {
    private let keys: [UInt32: TableKeys]
    /// Every transaction with a number before this one had ended, and was seen.
    private let endedBefore: UInt32

    fileprivate init(keys: [UInt32: TableKeys], endedBefore: UInt32) {
        self.keys = keys
        self.endedBefore = endedBefore
    }

    /// The keys of a table; nil where it has none, or none was seen.
    public subscript(oid: UInt32) -> TableKeys? { keys[oid] }

    /// Whether all that a transaction could know of tables was seen: what it wrote came after the changes of tables which it
    /// met had been committed, and it had ended when the question was asked.
    public func covers(transaction xid: UInt32) -> Bool { Int32(truncatingIfNeeded: xid &- endedBefore) < 0 }
}

/// The indexes of a table that can identify its rows.
struct KeyIndexes {
    /// The primary key's.
    private(set) var primary: IndexFacts?
    /// Of REPLICA IDENTITY USING INDEX.
    private(set) var identity: IndexFacts?

    /// One index may be both.
    mutating func add(_ index: IndexFacts, isPrimary: Bool, isIdentity: Bool) {
        if isPrimary, primary == nil { primary = index }
        if isIdentity, identity == nil { identity = index }
    }

    /// The columns of an identity that is an index.
    func columns(of identity: TableFacts.ReplicaIdentity) -> Set<String> {
        let index =
            switch identity {
            case .primaryKey: primary
            case .index: self.identity
            case .full, .nothing: nil as IndexFacts?
            }
        return Set(index?.columns ?? [])
    }
}

extension PostgresConnection {
    /// The keys of a table; empty ones where there are none, or no such table.
    public mutating func keys(of oid: UInt32) throws(PostgresError) -> TableKeys {
        TableKeys(try indexes(of: arrayLiteral([oid]))[oid] ?? KeyIndexes())
    }

    /// The keys of all tables of a publication that have some.
    public mutating func publishedKeys(of publication: String) throws(PostgresError) -> PublishedKeys {
        // First the snapshot, then the keys: what it sees, the later question sees too.
        let rows = try query(
            """
            \(Self.published(version: serverVersion))
            SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot()) AS xmin,
                   coalesce((SELECT pg_catalog.array_agg(oid) FROM published), '{}') AS tables
            """, [publication])
        let row = CatalogRow(rows: rows, index: 0)
        let xmin: UInt64 = try row.integer("xmin")
        let found = try indexes(of: row.text("tables"))
        return PublishedKeys(keys: found.mapValues { TableKeys($0) }, endedBefore: UInt32(truncatingIfNeeded: xmin))
    }

    /// The primary key and the identity's index of each table: one row a key column, in index order (not INCLUDE columns).
    mutating func indexes(of list: String) throws(PostgresError) -> [UInt32: KeyIndexes] {
        let rows = try query(
            """
            SELECT i.indrelid, i.indexrelid, c.relname, i.indisprimary, i.indisreplident, i.indimmediate, a.attname
              FROM pg_catalog.pg_index i
              JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
             CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts - 1) k (position)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.position]
             WHERE i.indrelid = ANY ($1::oid[]) AND (i.indisprimary OR i.indisreplident) AND i.indisvalid
             ORDER BY i.indrelid, i.indexrelid, k.position
            """, [list])
        var result: [UInt32: KeyIndexes] = [:]
        var columns: [String] = []
        for index in 0..<rows.count {
            let row = CatalogRow(rows: rows, index: index)
            columns.append(try row.text("attname"))
            let isLast = index + 1 == rows.count || rows[index + 1, "indexrelid"] != rows[index, "indexrelid"]
            guard isLast else { continue }
            let facts = IndexFacts(
                oid: try row.integer("indexrelid"), name: try row.text("relname"), columns: columns,
                isDeferrable: try !row.bool("indimmediate"))
            try result[row.integer("indrelid"), default: KeyIndexes()].add(
                facts, isPrimary: row.bool("indisprimary"), isIdentity: row.bool("indisreplident"))
            columns = []
        }
        return result
    }
}
