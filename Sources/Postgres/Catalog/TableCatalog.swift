extension PostgresConnection {
    /// The tables that match any of the patterns, by schema and name. A glob finds tables and partitioned tables only, and no
    /// partitions of a table that it finds as well; a plain name finds whatever stands there, so that it can be named in an error.
    /// System schemas are never searched, and a name that is not UTF-8, which no pattern can be, is matched by nothing.
    public mutating func tables(matching patterns: [TablePattern]) throws(PostgresError) -> [TableFacts] {
        guard !patterns.isEmpty else { return [] }
        // The server leaves out nearly all others, by its index: a database may have a hundred thousand. What it gives is looked at below.
        let isBounded = patterns.count <= 1000
        let likes = isBounded ? patterns.flatMap { [$0.schema, $0.table] }.map(TablePattern.like) : []
        let matched =
            isBounded
            ? patterns.indices.map { "n.nspname LIKE $\(2 * $0 + 1) AND c.relname LIKE $\(2 * $0 + 2)" } : ["true"]
        let rows = try query(
            """
            SELECT c.oid, n.nspname, c.relname, c.relkind, c.relispartition,
                   CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid END AS root
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
               AND (\(matched.joined(separator: " OR ")))
            """, likes)
        var named: Set<UInt32> = []
        var globbed: [(oid: UInt32, root: UInt32?)] = []
        for index in 0..<rows.count {
            let row = CatalogRow(rows: rows, index: index)
            let (schema, name, oid) = (
                try row.text("nspname"), try row.text("relname"), try row.integer("oid") as UInt32
            )
            guard row.isExact("nspname"), row.isExact("relname") else { continue }
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
            let own = indexes[oid] ?? KeyIndexes()
            let leaves = leaves[oid] ?? []
            let identityColumns = own.columns(of: identity)
            let weak = leaves.filter { leaf in
                guard leaf.identity != .full else { return false }
                guard identity != .full else { return true }
                if identity == .primaryKey, leaf.identity == .primaryKey { return false }
                let kept = indexes[leaf.oid]?.columns(of: leaf.identity) ?? []
                return !kept.isSuperset(of: identityColumns)
            }
            return TableFacts(
                oid: oid, schema: try row.text("nspname"), name: try row.text("relname"), kind: kind,
                persistence: persistence, replicaIdentity: identity, partitionRoot: row.optionalInteger("root"),
                partitionLeaves: leaves.map(\.oid),
                weakLeaves: weak.map { TableFacts.WeakLeaf(name: $0.name, identity: $0.identity) },
                unloggedLeaves: leaves.filter { $0.kind == .table && !$0.isLogged }.map(\.name),
                foreignLeaves: leaves.filter { $0.kind == .foreignTable }.map(\.name), heirs: heirs[oid] ?? [],
                primaryKey: own.primary, identityIndex: own.identity, columns: columns[oid] ?? [],
                estimatedRows: kind != .partitionedTable
                    ? try row.integer("estimate")
                    : leaves.isEmpty ? -1 : leaves.reduce(0) { $0 + max(0, $1.estimatedRows) },
                canSelect: try row.bool("can_select"),
                isOwner: try row.bool("is_owner"), hasRowSecurity: try row.bool("relrowsecurity"))
        }
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
            WITH RECURSIVE under (oid, base) AS (
                SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typtype = 'd'
                 UNION ALL
                SELECT u.oid, t.typbasetype FROM under u JOIN pg_catalog.pg_type t ON t.oid = u.base AND t.typtype = 'd'),
            domain (oid, base) AS (
                SELECT u.oid, u.base FROM under u JOIN pg_catalog.pg_type t ON t.oid = u.base AND t.typtype <> 'd')
            SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated,
                   pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
                   d.base, e.oid IS NOT NULL AS is_array
              FROM pg_catalog.pg_attribute a
              LEFT JOIN domain d ON d.oid = a.atttypid
              LEFT JOIN pg_catalog.pg_type e ON e.typarray = coalesce(d.base, a.atttypid)
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
                isNotNull: try row.bool("attnotnull"), generated: generated,
                domainBase: row.optionalInteger("base"), isArray: try row.bool("is_array"))
            result[try row.integer("attrelid"), default: []].append(column)
        }
        return result
    }
}
