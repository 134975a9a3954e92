/// The names of a table, as PostgreSQL has them.
public struct TableName: Hashable, Sendable, CustomStringConvertible {
    /// The schema's name.
    public var schema: String
    /// The table's name in its schema.
    public var name: String

    /// A table's name from its parts.
    public init(schema: String, name: String) {
        self.schema = schema
        self.name = name
    }

    /// `schema.table`, unquoted: for people.
    public var description: String { "\(schema).\(name)" }

    /// `"schema"."table"`, quoted so that it can be pasted into SQL.
    public var quoted: String { "\(quote(schema)).\(quote(name))" }

    private func quote(_ name: String) -> String {
        // By scalars: a quote with a mark that combines with it is one Character, and still ends the name.
        var quoted = String.UnicodeScalarView("\"".unicodeScalars)
        for scalar in name.unicodeScalars {
            if scalar == "\"" { quoted.append(scalar) }
            quoted.append(scalar)
        }
        quoted.append("\"")
        return String(quoted)
    }
}

/// A type that is not built in, as the catalog has it (`pg_type`). Array elements and domains name their type by OID:
/// built-in ones are known here, the others must be in the same `TableDescription.types`.
public struct PostgresType: Equatable, Sendable {
    /// What the type is made of (`typtype`, `typcategory`, `typelem`, `typbasetype`).
    public enum Kind: Equatable, Sendable {
        /// A base type, such as an extension's; hstore is known by its name.
        case base
        /// An enum.
        case `enum`
        /// A domain over a type, with the type modifier it gives (-1 for none).
        case domain(base: UInt32, modifier: Int32)
        /// An array of elements, whose text separates them by `delimiter` (`typdelim` of the element).
        case array(element: UInt32, delimiter: UInt8)
        /// A row type.
        case composite
        /// A range.
        case range
        /// A multirange.
        case multirange
    }

    /// The first OID of a type that is to be looked up. Base types that are known here have OIDs that somebody gave them, which end below
    /// it; initdb counts on from it for others, such as information_schema's domains, and everybody's own begin at 16384.
    public static let firstDescribed: UInt32 = 10_000

    /// The schema's name.
    public var schema: String
    /// The type's name.
    public var name: String
    /// What the type is made of.
    public var kind: Kind

    /// A type from its parts.
    public init(schema: String, name: String, kind: Kind) {
        self.schema = schema
        self.name = name
        self.kind = kind
    }
}

/// What the catalog says of a table and the replication stream does not.
public struct TableDescription: Equatable, Sendable {
    /// The columns of the primary key, in the order of its definition; empty where there is none.
    public var primaryKey: [String]
    /// The columns of the index that is the replica identity, in the order of its definition; empty where there is none.
    public var identityIndex: [String]
    /// The types of the columns that are not built in (OID from `PostgresType.firstDescribed`), with those they are made of.
    public var types: [UInt32: PostgresType]
    /// True for a table that the publication has and the configuration does not want: counted, never written.
    public var isIgnored: Bool
    /// Whether the first row of a table that is not written is told of (`Step.passedOver`): none is expected.
    public var isTold: Bool

    /// A description from its parts.
    public init(
        primaryKey: [String], identityIndex: [String] = [], types: [UInt32: PostgresType] = [:],
        isIgnored: Bool = false, isTold: Bool = false
    ) {
        self.primaryKey = primaryKey
        self.identityIndex = identityIndex
        self.types = types
        self.isIgnored = isIgnored
        self.isTold = isTold
    }
}
