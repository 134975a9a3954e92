/// A leaf of a partition tree, as it is judged by its root.
struct PartitionLeaf {
    /// The OID.
    var oid: UInt32
    /// `schema.name`, in quotes where SQL needs them.
    var name: String
    /// What the server sends as its old row.
    var identity: TableFacts.ReplicaIdentity
    /// Whether its root's identity is an index.
    var isUnderIndex: Bool
    /// What it is; nil where that has no name of ours.
    var kind: TableFacts.Kind?
    /// Whether its rows are in the WAL.
    var isLogged: Bool
    /// See `TableFacts.estimatedRows`.
    var estimatedRows: Int64
}

/// What stands above and below a table: partitions, and tables that inherit.
extension PostgresConnection {
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

    /// The leaves of partitioned tables, by these.
    mutating func leaves(of list: String) throws(PostgresError) -> [UInt32: [PartitionLeaf]] {
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
        var result: [UInt32: [PartitionLeaf]] = [:]
        for index in 0..<rows.count {
            let row = CatalogRow(rows: rows, index: index)
            result[try row.integer("oid"), default: []].append(
                PartitionLeaf(
                    oid: try row.integer("leaf"), name: try row.text("name"),
                    identity: TableFacts.ReplicaIdentity(rawValue: try row.text("relreplident")) ?? .nothing,
                    isUnderIndex: try row.bool("under_index"), kind: TableFacts.Kind(rawValue: try row.text("relkind")),
                    isLogged: try row.bool("logged"), estimatedRows: try row.integer("estimate")))
        }
        return result
    }

    /// The tables that inherit from ordinary ones, by these.
    mutating func heirs(of list: String) throws(PostgresError) -> [UInt32: [String]] {
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
