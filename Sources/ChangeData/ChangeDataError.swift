/// Why bytes are not a message: the message's kind, where, and what was expected there.
public struct Malformation: Error, Equatable, Sendable {
    /// What is wrong at the offset.
    public enum Reason: String, Sendable {
        /// The message ends before the field does.
        case tooShort = "the message ends too early"
        /// Bytes follow after the last field.
        case trailingBytes = "bytes follow after the end"
        /// A name is not UTF-8.
        case invalidText = "the text is not UTF-8"
        /// A length or count is negative or impossible.
        case invalidLength = "the length is impossible"
        /// A tag byte is none of those that may stand here.
        case unknownTag = "the tag is unknown"
        /// A row has another number of columns than its relation.
        case columnCount = "the row has another number of columns than its relation"
        /// The old tuple that a delete must have is not there.
        case noOldTuple = "the old tuple is missing"
        /// The message is longer than two gigabytes.
        case tooLong = "the message is too long"
    }

    /// The message's first byte; 0 for an empty message.
    public var message: UInt8
    /// The offset of the byte in the message.
    public var offset: Int
    /// What is wrong there.
    public var reason: Reason
}

/// Why a message could not be turned into records. Safe to print: no value of a row is in it.
///
/// After `unrepresentable` and `noKey` the encoder is as after the change, which is counted and of which nothing was
/// written; with a `deadLetterTopic` they are no errors but steps. All others end the session.
public enum ChangeDataError: Error, Equatable, Sendable {
    /// Bytes that are not a message of protocol 1.
    case malformed(Malformation, at: LSN)
    /// A message that protocol 1 does not have: options ask for a newer protocol, or the server is not PostgreSQL's pgoutput.
    case unsupported(message: UInt8, at: LSN)
    /// A message where it may not stand, such as a row outside a transaction.
    case unexpected(message: UInt8, why: String, at: LSN)
    /// A value that has no exact JSON: the row, the column, and why.
    case unrepresentable(table: TableName, column: String, why: ValueFailure, at: LSN)
    /// A row of a table that has no usable key.
    case noKey(table: TableName, identity: Relation.ReplicaIdentity, at: LSN)
    /// A row of a relation that was never described by `define`.
    case undefined(relation: UInt32, at: LSN)
    /// A record beyond two gigabytes.
    case tooLarge(table: TableName, at: LSN)
    /// A column has a name that the flat envelope uses itself.
    case reservedColumn(table: TableName, column: String)
    /// A topic's name cannot be made, or two tables would share it.
    case topic(TopicError)
}

extension ChangeDataError: CustomStringConvertible {
    /// What happened, to which table, where, and what to do.
    public var description: String {
        switch self {
        case .malformed(let fault, let lsn):
            "malformed \(name(fault.message)) message at LSN \(lsn), byte \(fault.offset): \(fault.reason.rawValue)"
        case .unsupported(let message, let lsn):
            "unsupported \(name(message)) message at LSN \(lsn): pgoutput must be started with proto_version 1 or 2, "
                + "without two_phase"
        case .unexpected(let message, let why, let lsn):
            "\(name(message)) message at LSN \(lsn) where it may not stand: \(why)"
        case .unrepresentable(let table, let column, let why, let lsn):
            "row of \(table) at LSN \(lsn) cannot be represented: column \"\(column)\": \(why.rawValue)"
        case .noKey(let table, let identity, let lsn):
            "row of \(table) at LSN \(lsn) has no key: \(advice(table, identity))"
        case .undefined(let relation, let lsn):
            "row of relation \(relation) at LSN \(lsn), which was not described"
        case .tooLarge(let table, let lsn):
            "row of \(table) at LSN \(lsn) is over two gigabytes as JSON"
        case .reservedColumn(let table, let column):
            "column \"\(column)\" of \(table) has a name that the flat envelope uses: rename it, "
                + "or set events.envelope to debezium"
        case .topic(let error):
            error.description
        }
    }

    private func name(_ message: UInt8) -> String {
        (0x21...0x7E).contains(message) ? "'\(Character(Unicode.Scalar(message)))'" : "0x\(String(message, radix: 16))"
    }

    private func advice(_ table: TableName, _ identity: Relation.ReplicaIdentity) -> String {
        let addKey = "ALTER TABLE \(table.quoted) ADD PRIMARY KEY (...)"
        // The catalog's key is that of a row from before it too, where the row has its columns.
        let reach = " helps later rows, and this one where it has these columns; else see ops/runbooks/exit-5.md"
        return switch identity {
        case .default: addKey + reach
        case .full:
            "\(addKey); or, where it was dropped, made again, or its key renamed since, "
                + "take it out of postgres.tables until the stream has passed it"
        case .nothing: "\(addKey), then ALTER TABLE \(table.quoted) REPLICA IDENTITY DEFAULT\(reach)"
        case .index:
            "\(addKey), then ALTER TABLE \(table.quoted) REPLICA IDENTITY DEFAULT, or USING INDEX of a valid index\(reach)"
        }
    }
}

/// Why a value cannot be written exactly.
public enum ValueFailure: String, Error, Equatable, Sendable {
    /// The text is not UTF-8.
    case invalidUTF8 = "the text is not valid UTF-8; is the database's encoding SQL_ASCII?"
    /// The text is not what PostgreSQL prints for the type under the session settings that sluice sets.
    case invalidText = "the text is not one of its type; session settings such as DateStyle may have been overridden"
    /// Money in a currency's own spelling.
    case foreignMoney = "money is only read in the C locale; set lc_monetary to C"
    /// The value came in binary.
    case binary = "the value came in binary form; pgoutput must be started without the option binary"
    /// The value of a key column was left out.
    case unchangedKey = "a key column was sent as unchanged TOAST without its old value"
    /// A column of the replica identity is never null, unless a partition has another identity than its root, or the row is from before it.
    case nullKey =
        "a key column came without its value; the replica identity of a partition is not that of its root, or the row is older than the key"
}
