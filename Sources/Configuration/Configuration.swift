/// What one configuration file says, checked as far as it can be without a server.
///
/// Every value is within its bounds, every default is filled in, every secret has been read. Durations are `Duration`, sizes are bytes.
/// `ops/reference/configuration.md` is generated from the same table of keys that reads the file.
public struct Configuration: Sendable, Equatable {
    /// `name`: what slot, publication, progress topic, consumer group and transactional id are named after. `[a-z0-9_]`, at most 56.
    public var name: String
    /// `postgres`: the database whose changes are read.
    public var postgres: Postgres
    /// `kafka`: the cluster they are published to.
    public var kafka: Kafka
    /// `events`: how they are written.
    public var events: Events
    /// `s3`: the store of the sink; nil where the file has no `s3` (allowed only for ``Purpose/stream``).
    public var s3: S3?
    /// `limits`: memory, disk and time.
    public var limits: Limits
    /// `http`: where metrics and status are served; nil for `off`. Default 127.0.0.1:9465.
    public var http: ListenAddress?
    /// `log`: what is logged, and how.
    public var log: Log
    /// Where the values stand, so that a later check against a server can name the line too.
    public var source: SourceMap

    /// `postgres`
    public struct Postgres: Sendable, Equatable {
        /// `url`: a libpq URI or key=value string, which may hold a password. Empty: libpq's PG* variables alone.
        public var url: Secret
        /// `password`, or what `password_file` holds.
        public var password: Secret?
        /// `tables`: what is published; globs stand for the tables that match when they are looked up.
        public var tables: [ConfiguredTable]
        /// `slot`: the replication slot. Default `sluice_<name>`.
        public var slot: String
        /// `publication`: Default `sluice_<name>`.
        public var publication: String
        /// `streaming`: whether large transactions are received before their commit. Default off.
        public var streaming: Streaming
        /// `replay_window`: how far the slot is held back for a replay.
        public var replayWindow: ReplayWindow

        /// Whether large transactions are received before their commit (PostgreSQL 14 and later).
        public enum Streaming: String, Sendable, CaseIterable { case on, off }
    }

    /// `postgres.replay_window`: both zero (the default) hold nothing back.
    public struct ReplayWindow: Sendable, Equatable {
        /// `age`: how old a commit may be and still be replayed. Default 0s.
        public var age: Duration
        /// `bytes`: how much WAL may be held for it. Default 0.
        public var bytes: Int
        /// Whether there is a window at all.
        public var isEmpty: Bool { age == .zero && bytes == 0 }
    }

    /// `kafka`
    public struct Kafka: Sendable, Equatable {
        /// `brokers`: `host:port` each, at least one.
        public var brokers: [String]
        /// `topic`: names the topic of a table. Default `{name}.{schema}.{table}`.
        public var topic: TopicTemplate
        /// `dead_letter_topic`: where rows go that cannot be represented; nil: such a row stops the stream. Default nil.
        public var deadLetterTopic: String?
        /// `partitions` of topics that sluice creates. Default 1.
        public var partitions: Int
        /// `replication_factor` of topics that sluice creates. Default 3.
        public var replicationFactor: Int
        /// `client`: properties handed to librdkafka, in the order of the file, `*_file` already read. None is one that sluice sets itself.
        public var client: [ClientProperty]
        /// `transaction`: the targets of a batch.
        public var transaction: Transaction
        /// `split`: the bounds past which one PostgreSQL transaction becomes several of Kafka's.
        public var split: Split
    }

    /// One librdkafka property. Its value may be a password: all are kept secret.
    public struct ClientProperty: Sendable, Equatable {
        /// As librdkafka spells it: `security.protocol`.
        public var name: String
        /// Its value.
        public var value: Secret
    }

    /// `kafka.transaction`: a batch is closed between PostgreSQL transactions once it reaches a target.
    public struct Transaction: Sendable, Equatable {
        /// `rows`. Default 50000.
        public var rows: Int
        /// `bytes`. Default 8MiB.
        public var bytes: Int
        /// `interval`: the least time between two commits. Default 5ms.
        public var interval: Duration
        /// `timeout`: the broker aborts a transaction that is open longer. Default 60s, always longer than `split.age`.
        public var timeout: Duration
    }

    /// `kafka.split`
    public struct Split: Sendable, Equatable {
        /// `rows`. Default 10000000.
        public var rows: Int
        /// `bytes`. Default 8GiB.
        public var bytes: Int
        /// `age`. Default 45s.
        public var age: Duration
    }

    /// `events`
    public struct Events: Sendable, Equatable {
        /// `envelope`. Default debezium.
        public var envelope: Envelope
        /// `numeric`. Default string.
        public var numeric: Numeric
        /// `tombstones`: whether a delete is followed by one. Default true.
        public var tombstones: Bool
        /// `timestamps`. Default iso.
        public var timestamps: Timestamps
        /// `json`. Default text.
        public var json: JSON

        /// The shape of a record's value.
        public enum Envelope: String, Sendable, CaseIterable { case debezium, flat }
        /// How numeric is written: an exact string, or an exact JSON number.
        public enum Numeric: String, Sendable, CaseIterable { case string, number }
        /// How dates and times are written: ISO 8601, or counted from 1970.
        public enum Timestamps: String, Sendable, CaseIterable { case iso, epoch }
        /// How json and jsonb are written: as a string that holds the text, or as the value itself.
        public enum JSON: String, Sendable, CaseIterable { case text, inline }
    }

    /// `s3`
    public struct S3: Sendable, Equatable {
        /// `url`: `s3://bucket/prefix` or `file:///directory`.
        public var location: ObjectLocation
        /// `endpoint`: another server than AWS, `http://host:port`; nil for AWS.
        public var endpoint: String?
        /// `region`: default AWS_REGION, AWS_DEFAULT_REGION, the profile's, else us-east-1.
        public var region: String
        /// `path_style`: bucket in the path, not in the host name. Default true with an `endpoint`, else false.
        public var pathStyle: Bool
        /// The keys, from the file, the environment or the profile; nil for `file://`, and where the sink is not to run.
        public var credentials: Credentials?
        /// Where the keys come from instead: the role of the pod, the container or the machine. Nil where there are `credentials`, and
        /// where the sink is not to run.
        public var role: CredentialSource?
        /// `ca_file`: certificates to trust beside the system's.
        public var caFile: String?
        /// `encryption`: what the store is asked to encrypt objects with. Default off.
        public var encryption: Encryption
        /// `kms_key_id`: the key of `aws:kms`; nil is the account's own.
        public var kmsKeyID: String?
        /// `acl`: the canned ACL of objects. Default off.
        public var acl: ACL
        /// `compression` of objects. Default none.
        public var compression: Compression
        /// `conditional`: whether a store must honour `If-None-Match`. Default required.
        public var conditional: Conditional
        /// `rotate`: when an object is closed before its hour is over.
        public var rotate: Rotate
        /// `seal_after`: how long after its end, by the source's clock, an hour is sealed. Default 1m.
        public var sealAfter: Duration

        /// What the store is asked to encrypt objects with, in S3's spelling; off: what the bucket says.
        public enum Encryption: String, Sendable, CaseIterable {
            case off
            case aes256 = "AES256"
            case kms = "aws:kms"
        }
        /// The canned ACLs that an object can have, in S3's spelling; off: none is sent.
        public enum ACL: String, Sendable, CaseIterable {
            case off
            case bucketOwnerFullControl = "bucket-owner-full-control"
            case bucketOwnerRead = "bucket-owner-read"
            case `private`
            case authenticatedRead = "authenticated-read"
            case awsExecRead = "aws-exec-read"
            case publicRead = "public-read"
            case publicReadWrite = "public-read-write"
        }
        /// How an object is compressed.
        public enum Compression: String, Sendable, CaseIterable { case none, gzip, lz4 }
        /// Whether a store must honour conditional writes.
        public enum Conditional: String, Sendable, CaseIterable { case required, off }
    }

    /// `s3.rotate`
    public struct Rotate: Sendable, Equatable {
        /// `bytes` as stored, after compression. Default 128MiB; at most 4GiB: an object ends behind the bound, and one PUT takes 5.
        public var bytes: Int
        /// `age`. Default 10m.
        public var age: Duration
    }

    /// `limits`
    public struct Limits: Sendable, Equatable {
        /// `memory`: bytes of rows and buffers. Default 48MiB.
        public var memory: Int
        /// `spool`: bytes of local disk. Default 1GiB.
        public var spool: Int
        /// `spool_dir`: where. Default /var/tmp.
        public var spoolDirectory: String
        /// `start_timeout`: how long a server may be out of reach at start. Default 60s.
        public var startTimeout: Duration
        /// `stop_timeout`: how long a drain may take. Default 10s.
        public var stopTimeout: Duration
    }

    /// `log`
    public struct Log: Sendable, Equatable {
        /// `level`: the least that is written. Default info.
        public var level: Level
        /// `format`: for people, or one JSON object a line. Default text.
        public var format: Format

        /// From the gravest on.
        public enum Level: String, Sendable, CaseIterable { case error, warning, info, debug }
        /// How a line looks.
        public enum Format: String, Sendable, CaseIterable { case text, json }
    }

    /// What the configuration is loaded for: only what that half needs is demanded, and only its secrets are read.
    public enum Purpose: String, Sendable, CaseIterable {
        /// Everything.
        case both
        /// `run --only stream`: `s3` may be absent.
        case stream
        /// `run --only sink`: `postgres.url` may be absent.
        case sink
        /// `check` and `verify`: `s3` may be absent, and is looked at where it is there.
        case given
        /// `status`: nothing but where the agent listens; no secret is read.
        case status

        var streams: Bool { self != .sink && self != .status }
        var sinks: Bool { self != .stream && self != .status }
        /// Whether there must be a store.
        var needsStore: Bool { self == .both || self == .sink }
    }
}

/// Where each key of one configuration stands.
public struct SourceMap: Sendable, Equatable {
    /// The file, as the user named it.
    public let file: String
    package var locations: [String: SourceLocation] = [:]
    /// The files that keys ending in `_file` name and that were read, by the key without that ending.
    public internal(set) var secretFiles: [String: String] = [:]

    /// The place of a key, or of the nearest section around it; nil where the file names none of them.
    public func location(of keyPath: String) -> SourceLocation? {
        var path = Substring(keyPath)
        while true {
            if let found = locations[String(path)] { return found }
            guard let dot = path.lastIndex(of: ".") else { return nil }
            path = path[..<dot]
        }
    }

    /// A problem with the value of `keyPath` that only a server could show, with its line.
    public func problem(_ keyPath: String, _ message: String) -> ConfigurationProblem {
        ConfigurationProblem(file: file, location: location(of: keyPath), keyPath: keyPath, message: message)
    }
}
