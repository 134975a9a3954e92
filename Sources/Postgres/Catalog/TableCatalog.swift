extension PostgresConnection {
    /// The tables that match any of the patterns, by schema and name. A glob finds tables and partitioned tables only, and no
    /// partitions of a table that it finds as well; a plain name finds whatever stands there, so that it can be named in an error.
    /// System schemas are never searched.
    public mutating func tables(matching patterns: [TablePattern]) throws(PostgresError) -> [TableFacts] {
        let rows = try query(
            """
            SELECT c.oid, n.nspname, c.relname, c.relkind, c.relispartition,
                   CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid END AS root
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
            """)
        var named: Set<UInt32> = []
        var globbed: [(oid: UInt32, root: UInt32?)] = []
        for index in 0..<rows.count {
            let row = CatalogRow(rows: rows, index: index)
            let (schema, name, oid) = (
                try row.text("nspname"), try row.text("relname"), try row.integer("oid") as UInt32
            )
            let hits = patterns.filter { $0.matches(schema: schema, table: name) }
            if hits.contains(where: { !$0.isGlob }) {
                named.insert(oid)
            } else if !hits.isEmpty, ["r", "p"].contains(try row.text("relkind")) {
                globbed.append((oid, row.optionalInteger("root")))
            }
        }
        let found = named.union(globbed.map(\.oid))
        let covered = globbed.filter { entry in entry.root.map { found.contains($0) } ?? false }.map(\.oid)
        return try tables(oids: found.subtracting(covered))
    }

    /// The facts of the tables with these OIDs, by schema and name; those that are gone are left out.
    ///
    /// Of the catalog alone: its functions that open a table (`pg_partition_tree`, `pg_get_expr`, `pg_get_publication_tables`) wait
    /// for whoever has locked it, as a TRUNCATE has for the whole of its transaction.
    public mutating func tables(oids: some Sequence<UInt32>) throws(PostgresError) -> [TableFacts] {
        let list = arrayLiteral(oids)
        let columns = try columns(of: list)
        let leaves = try leaves(of: list)
        let heirs = try heirs(of: list)
        // A partition's primary key has the columns of its root's: only other identities are looked at.
        let others = leaves.values.joined().filter { $0.identity == .index || $0.isUnderIndex }.map(\.oid)
        let indexes = try indexes(of: arrayLiteral(Set(oids).union(others)))
        let rows = try query(
            """
            SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity,
                   CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid END AS root,
                   c.reltuples::bigint AS estimate,
                   pg_catalog.has_table_privilege(c.oid, 'SELECT')
                       AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS can_select,
                   pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_owner
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.oid = ANY ($1::oid[]) ORDER BY n.nspname, c.relname
            """, [list])
        return try rows.map { row throws(PostgresError) in
            let oid: UInt32 = try row.integer("oid")
            guard let kind = TableFacts.Kind(rawValue: try row.text("relkind")),
                let persistence = TableFacts.Persistence(rawValue: try row.text("relpersistence")),
                let identity = TableFacts.ReplicaIdentity(rawValue: try row.text("relreplident"))
            else { throw PostgresError(.fatal, "the catalog describes relation \(oid) in an unknown way") }
            let own = indexes[oid] ?? []
            let leaves = leaves[oid] ?? []
            let identityColumns = Self.identityColumns(identity, own)
            let weak = leaves.filter { leaf in
                guard leaf.identity != .full else { return false }
                guard identity != .full else { return true }
                if identity == .primaryKey, leaf.identity == .primaryKey { return false }
                let kept = Self.identityColumns(leaf.identity, indexes[leaf.oid] ?? [])
                return !kept.isSuperset(of: identityColumns)
            }
            return TableFacts(
                oid: oid, schema: try row.text("nspname"), name: try row.text("relname"), kind: kind,
                persistence: persistence, replicaIdentity: identity, partitionRoot: row.optionalInteger("root"),
                partitionLeaves: leaves.map(\.oid),
                weakLeaves: weak.map { TableFacts.WeakLeaf(name: $0.name, identity: $0.identity) },
                unloggedLeaves: leaves.filter { $0.kind == .table && !$0.isLogged }.map(\.name),
                foreignLeaves: leaves.filter { $0.kind == .foreignTable }.map(\.name), heirs: heirs[oid] ?? [],
                primaryKey: own.first(where: \.isPrimary)?.facts,
                identityIndex: own.first(where: \.isIdentity)?.facts, columns: columns[oid] ?? [],
                estimatedRows: kind != .partitionedTable
                    ? try row.integer("estimate")
                    : leaves.isEmpty ? -1 : leaves.reduce(0) { $0 + max(0, $1.estimatedRows) },
                canSelect: try row.bool("can_select"),
                isOwner: try row.bool("is_owner"), hasRowSecurity: try row.bool("relrowsecurity"))
        }
    }

    /// The tables that a table is a partition of, by schema and name; empty where it is none, or is gone.
    public mutating func ancestors(of oid: UInt32) throws(PostgresError) -> [(schema: String, name: String)] {
        let rows = try query(
            """
            SELECT n.nspname, c.relname FROM pg_catalog.pg_partition_ancestors($1::oid::regclass) a
              JOIN pg_catalog.pg_class c ON c.oid = a.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.oid <> $1::oid
            """, [String(oid)])
        return try rows.map { row throws(PostgresError) in (try row.text("nspname"), try row.text("relname")) }
    }

    /// The ordinary tables that a table inherits from, nearest first.
    public mutating func parents(of oid: UInt32) throws(PostgresError) -> [(schema: String, name: String)] {
        let rows = try query(
            """
            WITH RECURSIVE above (oid, distance) AS (
                SELECT inhparent, 1 FROM pg_catalog.pg_inherits WHERE inhrelid = $1::oid
                 UNION
                SELECT i.inhparent, a.distance + 1 FROM above a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid)
            SELECT n.nspname, c.relname FROM above a JOIN pg_catalog.pg_class c ON c.oid = a.oid AND c.relkind = 'r'
              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY a.distance, a.oid
            """, [String(oid)])
        return try rows.map { row throws(PostgresError) in (try row.text("nspname"), try row.text("relname")) }
    }

    /// The keys of a table; empty ones where there are none, or no such table.
    public mutating func keys(of oid: UInt32) throws(PostgresError) -> TableKeys {
        TableKeys(try indexes(of: arrayLiteral([oid]))[oid] ?? [])
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

    /// Counts a table's rows by reading it.
    public mutating func exactRowCount(
        schema: String, table: String, isPartitioned: Bool, timeout: Duration = .seconds(600)
    ) throws(PostgresError) -> Int64 {
        let name = Quoting.qualified(schema, table)
        // ONLY: rows of tables that inherit from it come under their own names. Of a partitioned table that would be none.
        let rows = try query(
            """
            SELECT pg_catalog.count(*) AS count FROM \(isPartitioned ? "" : "ONLY ")\(name)
            """, timeout: timeout)
        return try CatalogRow(rows: rows, index: 0).integer("count")
    }

    private mutating func columns(of list: String) throws(PostgresError) -> [UInt32: [ColumnFacts]] {
        let rows = try query(
            """
            SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated,
                   pg_catalog.format_type(a.atttypid, a.atttypmod) AS type
              FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attrelid, a.attnum
            """, [list])
        var result: [UInt32: [ColumnFacts]] = [:]
        for index in 0..<rows.count {
            let row = CatalogRow(rows: rows, index: index)
            let generated = ColumnFacts.Generated(rawValue: try row.text("attgenerated")) ?? .stored
            let column = ColumnFacts(
                number: try row.integer("attnum"), name: try row.text("attname"), typeOID: try row.integer("atttypid"),
                typeModifier: try row.integer("atttypmod"), typeName: try row.text("type"),
                isNotNull: try row.bool("attnotnull"), generated: generated)
            result[try row.integer("attrelid"), default: []].append(column)
        }
        return result
    }

    fileprivate struct Index {
        var isPrimary: Bool
        var isIdentity: Bool
        var facts: IndexFacts
    }

    /// The primary key and the identity's index of each table: one row a key column, in index order (not INCLUDE columns).
    private mutating func indexes(of list: String) throws(PostgresError) -> [UInt32: [Index]] {
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
        var result: [UInt32: [Index]] = [:]
        var columns: [String] = []
        for index in 0..<rows.count {
            let row = CatalogRow(rows: rows, index: index)
            columns.append(try row.text("attname"))
            let isLast = index + 1 == rows.count || rows[index + 1, "indexrelid"] != rows[index, "indexrelid"]
            guard isLast else { continue }
            let facts = IndexFacts(
                oid: try row.integer("indexrelid"), name: try row.text("relname"), columns: columns,
                isDeferrable: try !row.bool("indimmediate"))
            result[try row.integer("indrelid"), default: []].append(
                Index(
                    isPrimary: try row.bool("indisprimary"), isIdentity: try row.bool("indisreplident"), facts: facts))
            columns = []
        }
        return result
    }

    private struct Leaf {
        var oid: UInt32
        var name: String
        var identity: TableFacts.ReplicaIdentity
        /// Whether its root's identity is an index.
        var isUnderIndex: Bool
        var kind: TableFacts.Kind?
        /// Whether its rows are in the WAL.
        var isLogged: Bool
        var estimatedRows: Int64
    }

    /// The columns of an identity that is an index.
    private static func identityColumns(_ identity: TableFacts.ReplicaIdentity, _ indexes: [Index]) -> Set<String> {
        let index =
            switch identity {
            case .primaryKey: indexes.first(where: \.isPrimary)
            case .index: indexes.first(where: \.isIdentity)
            case .full, .nothing: nil as Index?
            }
        return Set(index?.facts.columns ?? [])
    }

    private mutating func leaves(of list: String) throws(PostgresError) -> [UInt32: [Leaf]] {
        let rows = try query(
            """
            WITH RECURSIVE tree (root, oid) AS (
                SELECT oid, oid FROM pg_catalog.pg_class WHERE oid = ANY ($1::oid[]) AND relkind = 'p'
                 UNION ALL
                SELECT t.root, i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid)
            SELECT c.oid, l.oid AS leaf, l.relreplident, c.relreplident = 'i' AS under_index,
                   l.relkind, l.relpersistence = 'p' AS logged, l.reltuples::bigint AS estimate,
                   pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(l.relname) AS name
              FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.root
              JOIN pg_catalog.pg_class l ON l.oid = t.oid
              JOIN pg_catalog.pg_namespace n ON n.oid = l.relnamespace
             WHERE l.relkind <> 'p' ORDER BY c.oid, l.oid
            """, [list])
        var result: [UInt32: [Leaf]] = [:]
        for index in 0..<rows.count {
            let row = CatalogRow(rows: rows, index: index)
            result[try row.integer("oid"), default: []].append(
                Leaf(
                    oid: try row.integer("leaf"), name: try row.text("name"),
                    identity: TableFacts.ReplicaIdentity(rawValue: try row.text("relreplident")) ?? .nothing,
                    isUnderIndex: try row.bool("under_index"), kind: TableFacts.Kind(rawValue: try row.text("relkind")),
                    isLogged: try row.bool("logged"), estimatedRows: try row.integer("estimate")))
        }
        return result
    }

    /// The tables that inherit from ordinary ones, by these.
    private mutating func heirs(of list: String) throws(PostgresError) -> [UInt32: [String]] {
        let rows = try query(
            """
            WITH RECURSIVE tree (root, oid) AS (
                SELECT oid, oid FROM pg_catalog.pg_class WHERE oid = ANY ($1::oid[]) AND relkind = 'r'
                 UNION
                SELECT t.root, i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid)
            SELECT t.root, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS name
              FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE t.oid <> t.root ORDER BY t.root, c.oid
            """, [list])
        var result: [UInt32: [String]] = [:]
        for index in 0..<rows.count {
            let row = CatalogRow(rows: rows, index: index)
            result[try row.integer("root"), default: []].append(try row.text("name"))
        }
        return result
    }
}

/// The columns of a table's primary key and of its identity's index, in the order of the index; empty where there is none.
public struct TableKeys: Sendable, Equatable {
    /// Of the primary key.
    public var primary: [String] = []
    /// Of the index that is the replica identity.
    public var identity: [String] = []

    fileprivate init(_ indexes: [PostgresConnection.Index]) {
        primary = indexes.first(where: \.isPrimary)?.facts.columns ?? []
        identity = indexes.first(where: \.isIdentity)?.facts.columns ?? []
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
