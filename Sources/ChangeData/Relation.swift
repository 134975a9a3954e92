/// A table as the server describes it in a Relation message, valid for the rows that follow.
public struct Relation: Equatable, Sendable {
    /// What an update or a delete says of the row before it (`relreplident`).
    public enum ReplicaIdentity: UInt8, Sendable {
        /// The primary key.
        case `default` = 0x64
        /// Nothing: updates and deletes fail at the publisher.
        case nothing = 0x6E
        /// The whole row.
        case full = 0x66
        /// The columns of one unique index.
        case index = 0x69
    }

    /// One column.
    public struct Column: Equatable, Sendable {
        /// The column's name.
        public var name: String
        /// The OID of its type.
        public var typeOID: UInt32
        /// The type modifier: length or precision, -1 for none.
        public var modifier: Int32
        /// Part of the *replica identity*; under FULL every column is.
        public var isKey: Bool

        /// A column from its parts.
        public init(name: String, typeOID: UInt32, modifier: Int32, isKey: Bool) {
            self.name = name
            self.typeOID = typeOID
            self.modifier = modifier
            self.isKey = isKey
        }
    }

    /// The table's OID: its identity, where names may change.
    public var oid: UInt32
    /// The table's names.
    public var table: TableName
    /// What updates and deletes say of the old row.
    public var replicaIdentity: ReplicaIdentity
    /// The columns in table order, without generated ones.
    public var columns: [Column]

    /// A relation from its parts.
    public init(oid: UInt32, table: TableName, replicaIdentity: ReplicaIdentity, columns: [Column]) {
        self.oid = oid
        self.table = table
        self.replicaIdentity = replicaIdentity
        self.columns = columns
    }
}
