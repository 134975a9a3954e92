/// A publication and the tables that it publishes.
public struct Publication: Sendable, Equatable {
    /// Its name.
    public let name: String
    /// Its OID: one that was dropped and made again has another.
    public let oid: UInt32
    /// The transaction that made its row in the catalog as it is (`xmin`): another one after its options, name or owner were altered, not
    /// after a table was added or taken out.
    public let altered: UInt32
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
    /// The columns that the publication lists (15 and later); nil where it lists none: all.
    public let columns: [String]?
    /// Whether it has a row filter (15 and later).
    public let isFiltered: Bool
    /// The OIDs of the entries that publish it by its name or its roots'; none where all tables are published. An entry that was taken
    /// out and put back, or got another list or filter, has another OID.
    public let entries: Set<UInt32>
    /// The same, of the entries of its schema and its roots'.
    public let schemaEntries: Set<UInt32>
    /// Its list of columns and its filter as the catalog spells them (15 and later); nil where it has neither.
    public let restriction: String?
    /// Whether schema and name are UTF-8: else both are for people to read, and no pattern matches them.
    public var isNamedInUTF8 = true
}

extension PostgresConnection {
    /// The publication of a name, or nil.
    public mutating func publication(named name: String) throws(PostgresError) -> Publication? {
        let rows = try query(
            """
            SELECT p.oid, p.xmin AS altered, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot,
                   coalesce(pg_catalog.to_jsonb(p) ->> 'pubgencols', 'n') = 's' AS generated
              FROM pg_catalog.pg_publication p WHERE pubname = $1
            """, [name])
        guard !rows.isEmpty else { return nil }
        let row = CatalogRow(rows: rows, index: 0)
        return Publication(
            name: name, oid: try row.integer("oid"), altered: try row.integer("altered"),
            publishesAllTables: try row.bool("puballtables"),
            insert: try row.bool("pubinsert"),
            update: try row.bool("pubupdate"), delete: try row.bool("pubdelete"),
            truncate: try row.bool("pubtruncate"), viaPartitionRoot: try row.bool("pubviaroot"),
            publishesGeneratedColumns: try row.bool("generated"), tables: try publishedTables(of: name))
    }

    private mutating func publishedTables(of publication: String) throws(PostgresError) -> [PublishedTable] {
        let isListing = serverVersion >= 150_000
        let rows = try query(
            """
            \(Self.published(version: serverVersion))
            SELECT c.oid, n.nspname AS schemaname, c.relname AS tablename, r.oid IS NOT NULL AS named,
                   \(isListing ? "r.prqual IS NOT NULL" : "false") AS filtered,
                   \(Self.entries(isListing: isListing)),
                   \(isListing ? "a.attname" : "NULL") AS column_name,
                   EXISTS (SELECT FROM pg_catalog.pg_publication_rel o JOIN publication p ON p.oid = o.prpubid
                            WHERE o.prrelid <> c.oid AND o.prrelid IN
                                  (SELECT relid FROM pg_catalog.pg_partition_ancestors(c.oid))) AS root_named
              FROM published t JOIN pg_catalog.pg_class c ON c.oid = t.oid
              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace CROSS JOIN publication p
              LEFT JOIN pg_catalog.pg_publication_rel r ON r.prrelid = c.oid AND r.prpubid = p.oid
              \(isListing ? "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (r.prattrs)" : "")
             ORDER BY n.nspname, c.relname\(isListing ? ", a.attnum" : "")
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
                    isFiltered: try row.bool("filtered"),
                    entries: row.oids("entries"), schemaEntries: row.oids("schema_entries"),
                    restriction: row.optional("restriction"),
                    isNamedInUTF8: row.isExact("schemaname") && row.isExact("tablename")))
            columns = []
        }
        return tables
    }

    /// SQL of the columns `entries`, `schema_entries` and `restriction` of a table `c`, whose own entry is `r`, in publication `p`. Where
    /// the text of a filter stood in its statement is no part of it.
    private static func entries(isListing: Bool) -> String {
        // Of a table that is no partition without a look at what is above it: there may be thousands.
        """
        pg_catalog.concat_ws(' ', r.oid, CASE WHEN c.relispartition THEN (
            SELECT pg_catalog.string_agg(o.oid::pg_catalog.text, ' ') FROM pg_catalog.pg_partition_ancestors(c.oid) a
              JOIN pg_catalog.pg_publication_rel o ON o.prrelid = a.relid AND o.prpubid = p.oid
             WHERE a.relid <> c.oid) END) AS entries,
        \(isListing ? """
                pg_catalog.concat_ws(' ', (SELECT o.oid FROM pg_catalog.pg_publication_namespace o
                                            WHERE o.pnnspid = c.relnamespace AND o.pnpubid = p.oid),
                    CASE WHEN c.relispartition THEN (
                        SELECT pg_catalog.string_agg(o.oid::pg_catalog.text, ' ') FROM pg_catalog.pg_partition_ancestors(c.oid) a
                          JOIN pg_catalog.pg_class t ON t.oid = a.relid
                          JOIN pg_catalog.pg_publication_namespace o ON o.pnnspid = t.relnamespace AND o.pnpubid = p.oid
                         WHERE a.relid <> c.oid) END)
                """ : "NULL") AS schema_entries,
        \(isListing ? """
                nullif(pg_catalog.concat(r.prattrs::pg_catalog.text, ' ' || pg_catalog.regexp_replace(
                    r.prqual::pg_catalog.text, ' :(stmt_)?(location|len) -?[0-9]+', '', 'g')), '')
                """ : "NULL") AS restriction
        """
    }

    /// SQL that begins a question with `publication`, of the name `$1`, and `published`, the OIDs of its tables as rows will be named:
    /// what the server's own `pg_publication_tables` says, which waits for locks of the tables.
    ///
    /// A table is published if it, its schema or all tables are; so are the partitions of such a one. With
    /// `publish_via_partition_root` what is below another of them goes under that one's name, else each leaf under its own.
    static func published(version: Int) -> String {
        """
        WITH RECURSIVE publication AS (
            SELECT oid, puballtables, pubviaroot FROM pg_catalog.pg_publication WHERE pubname = $1),
        publishable AS (
            SELECT oid, relkind, relnamespace FROM pg_catalog.pg_class
             WHERE relkind IN ('r', 'p') AND relpersistence = 'p' AND oid >= 16384),
        named AS (
            SELECT r.prrelid AS oid FROM pg_catalog.pg_publication_rel r JOIN publication p ON p.oid = r.prpubid
             UNION
            SELECT c.oid FROM publishable c JOIN publication p ON p.puballtables
            \(version >= 150_000 ? """
             UNION
            SELECT c.oid FROM publishable c JOIN pg_catalog.pg_publication_namespace n ON n.pnnspid = c.relnamespace
              JOIN publication p ON p.oid = n.pnpubid
            """ : "")),
        below (oid) AS (
            SELECT i.inhrelid FROM named n JOIN pg_catalog.pg_class c ON c.oid = n.oid AND c.relkind = 'p'
              JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid
             UNION
            SELECT i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid),
        published AS (
            SELECT c.oid FROM publication p JOIN publishable c ON CASE WHEN p.pubviaroot
                   THEN c.oid IN (SELECT oid FROM named) AND c.oid NOT IN (SELECT oid FROM below)
                   ELSE c.relkind = 'r' AND (c.oid IN (SELECT oid FROM named) OR c.oid IN (SELECT oid FROM below)) END)
        """
    }

    /// The row filter of a table that is published by its name, as SQL; nil where it has none. Waits for locks of the table.
    public mutating func rowFilter(of table: UInt32, in publication: String) throws(PostgresError) -> String? {
        guard serverVersion >= 150_000 else { return nil }
        let rows = try query(
            """
            SELECT pg_catalog.pg_get_expr(r.prqual, r.prrelid) AS filter
              FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
             WHERE r.prrelid = $1::oid AND p.pubname = $2
            """, [String(table), publication])
        return rows.isEmpty ? nil : rows[0, "filter"]
    }
}

extension CatalogRow {
    /// OIDs in a text, with spaces between them.
    fileprivate func oids(_ column: String) -> Set<UInt32> {
        Set((optional(column) ?? "").split(separator: " ").compactMap { UInt32($0) })
    }
}
