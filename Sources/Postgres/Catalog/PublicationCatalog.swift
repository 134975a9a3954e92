/// A publication and the tables that it publishes.
public struct Publication: Sendable, Equatable {
    /// Its name.
    public let name: String
    /// Its OID: one that was dropped and made again has another.
    public let oid: UInt32
    /// `FOR ALL TABLES`.
    public let publishesAllTables: Bool
    /// Whether inserts are published.
    public let insert: Bool
    /// Whether updates are published.
    public let update: Bool
    /// Whether deletes are published.
    public let delete: Bool
    /// Whether truncates are published.
    public let truncate: Bool
    /// `publish_via_partition_root`.
    public let viaPartitionRoot: Bool
    /// `publish_generated_columns` (18 and later): whether stored generated columns are sent.
    public let publishesGeneratedColumns: Bool
    /// Its tables as rows will be named: a root in place of its partitions where `viaPartitionRoot` is set.
    public let tables: [PublishedTable]
}

/// A table of a publication.
public struct PublishedTable: Sendable, Equatable {
    /// The table's OID.
    public let oid: UInt32
    /// Its schema.
    public let schema: String
    /// Its name.
    public let name: String
    /// `schema.name`.
    public var qualifiedName: String { "\(schema).\(name)" }
    /// Whether the publication names it, and not only its schema, its root or all tables.
    public let isNamed: Bool
    /// Whether the publication names a table that it is a partition of.
    public let isRootNamed: Bool
    /// The columns that are sent; nil where the server does not say (14: all).
    public let columns: [String]?
    /// The row filter's expression (15 and later).
    public let rowFilter: String?
}

extension PostgresConnection {
    /// The publication of a name, or nil.
    public mutating func publication(named name: String) throws(PostgresError) -> Publication? {
        let rows = try query(
            """
            SELECT p.oid, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot,
                   coalesce(pg_catalog.to_jsonb(p) ->> 'pubgencols', 'n') = 's' AS generated
              FROM pg_catalog.pg_publication p WHERE pubname = $1
            """, [name])
        guard !rows.isEmpty else { return nil }
        let row = CatalogRow(rows: rows, index: 0)
        return Publication(
            name: name, oid: try row.integer("oid"), publishesAllTables: try row.bool("puballtables"),
            insert: try row.bool("pubinsert"),
            update: try row.bool("pubupdate"), delete: try row.bool("pubdelete"),
            truncate: try row.bool("pubtruncate"), viaPartitionRoot: try row.bool("pubviaroot"),
            publishesGeneratedColumns: try row.bool("generated"), tables: try publishedTables(of: name))
    }

    private mutating func publishedTables(of publication: String) throws(PostgresError) -> [PublishedTable] {
        let rows = try query(
            """
            SELECT c.oid, t.schemaname, t.tablename, j ->> 'rowfilter' AS filter, a.name AS column_name,
                   EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
                            WHERE p.pubname = t.pubname AND r.prrelid = c.oid) AS named,
                   EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
                            WHERE p.pubname = t.pubname AND r.prrelid <> c.oid AND r.prrelid IN
                                  (SELECT relid FROM pg_catalog.pg_partition_ancestors(c.oid))) AS root_named
              FROM pg_catalog.pg_publication_tables t
              JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname
              JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
             CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(t) AS j) x
              LEFT JOIN LATERAL pg_catalog.jsonb_array_elements_text(
                        CASE WHEN pg_catalog.jsonb_typeof(j -> 'attnames') = 'array' THEN j -> 'attnames' END)
                   WITH ORDINALITY a (name, position) ON true
             WHERE t.pubname = $1 ORDER BY t.schemaname, t.tablename, a.position
            """, [publication])
        var tables: [PublishedTable] = []
        var columns: [String] = []
        for index in 0..<rows.count {
            let row = CatalogRow(rows: rows, index: index)
            let oid: UInt32 = try row.integer("oid")
            if let column = row.optional("column_name") { columns.append(column) }
            let isLast = index + 1 == rows.count || rows[index + 1, "oid"] != rows[index, "oid"]
            guard isLast else { continue }
            tables.append(
                PublishedTable(
                    oid: oid, schema: try row.text("schemaname"), name: try row.text("tablename"),
                    isNamed: try row.bool("named"), isRootNamed: try row.bool("root_named"),
                    columns: columns.isEmpty ? nil : columns,
                    rowFilter: row.optional("filter")))
            columns = []
        }
        return tables
    }
}
