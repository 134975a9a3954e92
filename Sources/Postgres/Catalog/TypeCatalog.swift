/// A row of `pg_type`, with what is needed to write its values.
public struct TypeFacts: Sendable, Equatable {
    /// `pg_type.typtype`.
    public enum Kind: String, Sendable {
        case base = "b"
        case composite = "c"
        case domain = "d"
        case enumeration = "e"
        case multirange = "m"
        case pseudo = "p"
        case range = "r"
    }

    /// The OID.
    public let oid: UInt32
    /// The schema.
    public let schema: String
    /// The name; the array type of `x` is `_x`.
    public let name: String
    /// What it is.
    public let kind: Kind
    /// The type under a domain.
    public let baseType: UInt32?
    /// The modifier that a domain gives its base type; -1 for none.
    public let baseModifier: Int32
    /// The type of an array's elements; nil for what is no array type.
    public let elementType: UInt32?
    /// The character between an array's elements: `,` for all types but `box`.
    public let elementDelimiter: String
    /// The extension that it belongs to, such as `hstore`.
    public let extensionName: String?
}

extension PostgresConnection {
    /// The types of these OIDs and all that they are made of: base types of domains, elements of arrays. By OID.
    public mutating func types(oids: some Sequence<UInt32>) throws(PostgresError) -> [TypeFacts] {
        let rows = try query(
            """
            WITH RECURSIVE wanted (oid) AS (
                SELECT pg_catalog.unnest($1::oid[])
                 UNION
                SELECT part FROM wanted w JOIN pg_catalog.pg_type t ON t.oid = w.oid
                 CROSS JOIN LATERAL (SELECT nullif(t.typbasetype, 0) UNION ALL
                                     SELECT e.oid FROM pg_catalog.pg_type e WHERE e.typarray = t.oid) p (part)
                 WHERE part IS NOT NULL)
            SELECT t.oid, n.nspname, t.typname, t.typtype, nullif(t.typbasetype, 0) AS base, t.typtypmod,
                   e.oid AS element, coalesce(e.typdelim, t.typdelim) AS delimiter, x.extname
              FROM wanted w JOIN pg_catalog.pg_type t ON t.oid = w.oid
              JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
              LEFT JOIN pg_catalog.pg_type e ON e.typarray = t.oid
              LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid
                    AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
              LEFT JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid
             ORDER BY t.oid
            """, [arrayLiteral(oids)])
        return try rows.map { row throws(PostgresError) in
            guard let kind = TypeFacts.Kind(rawValue: try row.text("typtype")) else {
                throw PostgresError(.fatal, "the catalog knows a kind of type that is unknown here")
            }
            return TypeFacts(
                oid: try row.integer("oid"), schema: try row.text("nspname"), name: try row.text("typname"), kind: kind,
                baseType: row.optionalInteger("base"), baseModifier: try row.integer("typtypmod"),
                elementType: row.optionalInteger("element"), elementDelimiter: try row.text("delimiter"),
                extensionName: row.optional("extname"))
        }
    }
}
