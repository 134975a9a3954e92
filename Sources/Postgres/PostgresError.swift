/// What a server or libpq answered instead of a result, classified once. Safe to print: it holds no secret and no piece of a
/// connection string.
public struct PostgresError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What the caller can do about it.
    public enum Kind: Sendable, Hashable {
        /// The connection was lost or refused, or the server is short of something: the same call may succeed later.
        case transient
        /// Another connection holds the slot (55006): wait.
        case slotInUse
        /// The server or this backend is being ended by an administrator, or is not up yet (57P01, 57P02, 57P03).
        case shuttingDown
        /// The slot does not exist (42704 in answer to a command that names one).
        case slotMissing
        /// The slot exists, but the server has removed WAL or rows that it needs (55000 with that text).
        case slotInvalidated
        /// Another object that was named does not exist (42704, 42P01, 3D000...), such as a publication while streaming.
        case undefined
        /// An object of this name exists already (42710).
        case duplicate
        /// Wrong credentials, or a right that is missing (28..., 42501).
        case permission
        /// The statement was cancelled by somebody else, or by the server's own time-out (57014).
        case cancelled
        /// Our deadline passed; the statement was cancelled.
        case timedOut
        /// The connection string cannot be used.
        case configuration
        /// The server is older than those whose catalog and commands are known.
        case tooOld
        /// The server cannot say in the client's encoding what a row holds (22021, 22P05 while streaming).
        case untranslatable
        /// The server cannot put a row into one message, which is of 1 GB at most (54000 while streaming).
        case rowTooLarge
        /// Anything else: trying again as it is will not help.
        case fatal
    }

    /// The SQLSTATE, where the server gave one.
    public let sqlState: String?
    /// What the caller can do about it.
    public let kind: Kind
    /// What happened, in one line.
    public let message: String
    /// The server's detail.
    public let detail: String?
    /// The server's, or our, advice.
    public let hint: String?

    /// An error found on this side of the connection.
    package init(
        _ kind: Kind, _ message: String, sqlState: String? = nil, detail: String? = nil, hint: String? = nil
    ) {
        self.kind = kind
        self.message = message
        self.sqlState = sqlState
        self.detail = detail
        self.hint = hint
    }

    /// Message, SQLSTATE, detail and hint on one line.
    public var description: String {
        var text = message
        if let sqlState { text += " (SQLSTATE \(sqlState))" }
        if let detail { text += "; \(detail)" }
        if let hint { text += "; hint: \(hint)" }
        return text
    }
}

/// What a connection was doing when an error came: the same SQLSTATE means different things to different commands.
package enum Activity: Sendable, Hashable {
    case connecting
    case query
    /// A statement that changes what the database has, and no row: event triggers of others may run beside it.
    case definition
    /// A replication command that names a slot.
    case slotCommand
    /// Between the start and the end of a replication stream.
    case streaming
}

extension PostgresError.Kind {
    /// Classifies a SQLSTATE. The texts are looked at only where PostgreSQL gives two faults the same code.
    package init(sqlState: String, during activity: Activity, message: String, detail: String?) {
        switch sqlState {
        case "55006": self = .slotInUse
        case "57P01", "57P02", "57P03": self = .shuttingDown
        case "42704" where activity == .slotCommand: self = .slotMissing
        case "3D000" where activity == .connecting: self = .configuration
        case "42704", "42P01", "3D000", "3F000", "42703", "42883": self = .undefined
        case "42710", "42P07": self = .duplicate
        case "42501": self = .permission
        case "57014": self = .cancelled
        // In answer to a question it is a name of the catalog's, or a parameter: no row.
        case "22021" where activity == .streaming, "22P05" where activity == .streaming: self = .untranslatable
        case "54000" where activity == .streaming: self = .rowTooLarge
        // Said in English in every language: it is an internal error.
        case "XX000" where activity == .streaming && message.contains("invalid memory alloc request size"):
            self = .rowTooLarge
        case "55000" where Self.saysInvalidated(message) || Self.saysInvalidated(detail ?? ""): self = .slotInvalidated
        case "57P05", "55P03", "40001", "40P01", "25P03", "25P04", "58000", "58030": self = .transient
        default:
            switch sqlState.prefix(2) {
            case "08", "53": self = .transient
            case "28": self = .permission
            default: self = .fatal
            }
        }
    }

    /// The wordings of PostgreSQL 14 to 18, in `CreateDecodingContext` and `ReplicationSlotAcquire`.
    private static func saysInvalidated(_ text: String) -> Bool {
        text.contains("can no longer") || text.contains("cannot read from logical replication slot")
            || text.contains("has been invalidated")
    }
}
