/// How changes are written: what the configuration chooses, and the names that every record carries.
public struct EventFormat: Equatable, Sendable {
    /// The shape of a record's value.
    public enum Envelope: Sendable {
        /// Debezium's envelope: before, after, source, transaction, op and three times.
        case debezium
        /// The row's columns with `_op`, `_lsn`, `_commit_ts`, `_xid`, `_seq` and, where needed, `_unchanged`.
        case flat
    }
    /// How numeric is written.
    public enum Numeric: Sendable {
        /// A string of PostgreSQL's digits.
        case string
        /// An exact JSON number; NaN and the infinities stay strings.
        case number
    }
    /// How dates and times are written.
    public enum Timestamps: Sendable {
        /// ISO 8601, as Debezium's `isostring`.
        case iso
        /// Numbers: date in days since 1970, all else in microseconds (since 1970, or since midnight).
        case epoch
    }
    /// How json and jsonb are written.
    public enum JSON: Sendable {
        /// A string that holds PostgreSQL's text.
        case text
        /// The value itself, without white space between its parts.
        case inline
    }

    /// The shape of a record's value.
    public var envelope: Envelope
    /// How numeric is written.
    public var numeric: Numeric
    /// How dates and times are written.
    public var timestamps: Timestamps
    /// How json and jsonb are written.
    public var json: JSON
    /// Whether a delete is followed by a record without value, for compacted topics.
    public var tombstones: Bool
    /// The configured name: `source.name`, and the first part of topic names.
    public var name: String
    /// The database: `source.db`.
    public var database: String
    /// sluice's own version: `source.version`.
    public var version: String
    /// The epoch of positions.
    public var epoch: UInt32
    /// The template of topic names, with `{name}`, `{schema}` and `{table}`.
    public var topicTemplate: String
    /// The topic of changes that cannot be written as events; nil: such a change is an error.
    public var deadLetterTopic: String?

    /// A format; what is not given is the configuration's default.
    public init(
        name: String, database: String, version: String, epoch: UInt32,
        topicTemplate: String = "{name}.{schema}.{table}", envelope: Envelope = .debezium,
        numeric: Numeric = .string, timestamps: Timestamps = .iso, json: JSON = .text, tombstones: Bool = true,
        deadLetterTopic: String? = nil
    ) {
        self.name = name
        self.database = database
        self.version = version
        self.epoch = epoch
        self.topicTemplate = topicTemplate
        self.envelope = envelope
        self.numeric = numeric
        self.timestamps = timestamps
        self.json = json
        self.tombstones = tombstones
        self.deadLetterTopic = deadLetterTopic
    }
}
