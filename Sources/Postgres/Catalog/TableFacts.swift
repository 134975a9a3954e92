/// What the catalog says of a table or of what stands in its place.
public struct TableFacts: Sendable, Equatable {
    /// `pg_class.relkind`.
    public enum Kind: String, Sendable {
        case table = "r"
        case partitionedTable = "p"
        case view = "v"
        case materializedView = "m"
        case foreignTable = "f"

        /// Whether its rows can be in a stream at all; a plain name may find a view.
        public var isDecoded: Bool { self == .table || self == .partitionedTable }
    }

    /// `pg_class.relpersistence`: only permanent tables are decoded.
    public enum Persistence: String, Sendable {
        case permanent = "p"
        case unlogged = "u"
        case temporary = "t"
    }

    /// `pg_class.relreplident`.
    public enum ReplicaIdentity: String, Sendable {
        case primaryKey = "d"
        case nothing = "n"
        case full = "f"
        case index = "i"
    }

    /// A leaf of a partition tree.
    public struct WeakLeaf: Sendable, Equatable {
        /// `schema.name`, in quotes where SQL needs them.
        public let name: String
        /// What the server sends as its old row.
        public let identity: ReplicaIdentity
    }

    /// The OID: the table's identity; names may move.
    public let oid: UInt32
    /// The schema.
    public let schema: String
    /// The name.
    public let name: String
    /// `schema.name`.
    public var qualifiedName: String { "\(schema).\(name)" }
    /// What it is.
    public let kind: Kind
    /// Whether it is logged.
    public let persistence: Persistence
    /// What the server sends as the old row.
    public let replicaIdentity: ReplicaIdentity
    /// The root of the partition tree; nil when it is no partition.
    public let partitionRoot: UInt32?
    /// The leaves below it; empty unless it is partitioned.
    public let partitionLeaves: [UInt32]
    /// Those leaves whose replica identity lacks what the root's has. The server announces the root's identity and sends what the
    /// leaf's has kept, so that an old key or an old row has nulls in the place of values.
    public let weakLeaves: [WeakLeaf]
    /// Those leaves, `schema.name`, whose rows are in no WAL: unlogged tables.
    public let unloggedLeaves: [String]
    /// Those that are foreign tables: what is written to them is written elsewhere.
    public let foreignLeaves: [String]
    /// The tables that inherit from it, `schema.name`, and are no partitions: their rows are theirs in the stream, and in queries
    /// also this one's.
    public let heirs: [String]
    /// The primary key.
    public let primaryKey: IndexFacts?
    /// The index of REPLICA IDENTITY USING INDEX; nil where there is none, or where it was dropped (then the identity is nothing).
    public let identityIndex: IndexFacts?
    /// The columns, in order, without dropped ones.
    public let columns: [ColumnFacts]
    /// The planner's estimate of the rows, partitions included; -1 where the table was never analysed.
    public let estimatedRows: Int64
    /// Whether our role may read all of it.
    public let canSelect: Bool
    /// Whether our role owns it, or is a member of its owner: needed to publish it.
    public let isOwner: Bool
    /// Whether row security is on, so that a reader may not see all rows.
    public let hasRowSecurity: Bool

    /// The columns that identify a row in a delete or in an update of its key, as the server sees it: nil where UPDATE and DELETE
    /// would fail once the table is published, all columns for FULL.
    public var identityColumns: [String]? {
        switch replicaIdentity {
        case .nothing: nil
        case .full: columns.filter { $0.generated == .never }.map(\.name)
        // A deferrable key is no identity: PostgreSQL refuses UPDATE and DELETE with it.
        case .primaryKey: primaryKey.flatMap { $0.isDeferrable ? nil : $0.columns }
        case .index: identityIndex?.columns
        }
    }
}

/// A unique index.
public struct IndexFacts: Sendable, Equatable {
    /// The index's OID.
    public let oid: UInt32
    /// Its name.
    public let name: String
    /// Its key columns in the order of its definition.
    public let columns: [String]
    /// Whether its constraint is deferrable (`indimmediate` is false).
    public let isDeferrable: Bool
}

/// A column.
public struct ColumnFacts: Sendable, Equatable {
    /// `pg_attribute.attgenerated`.
    public enum Generated: String, Sendable {
        case never = ""
        case stored = "s"
        case virtual = "v"
    }

    /// `attnum`.
    public let number: Int16
    /// The name.
    public let name: String
    /// The type's OID.
    public let typeOID: UInt32
    /// The type's modifier, such as the precision; -1 for none.
    public let typeModifier: Int32
    /// The type as SQL writes it.
    public let typeName: String
    /// NOT NULL.
    public let isNotNull: Bool
    /// Whether and how it is generated.
    public let generated: Generated
    /// What a domain is over in the end; nil where the type is none.
    public var domainBase: UInt32? = nil
    /// Whether the type, or what it is over, is an array.
    public var isArray = false
}
