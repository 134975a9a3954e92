/// What `/status` says: a snapshot of a running agent. Every section may be missing: then that half does not run, or knows nothing yet.
///
/// LSNs are text as PostgreSQL writes them, times are ISO 8601 in UTC.
public struct StatusDocument: Sendable, Equatable {
    /// The configured name.
    public var name: String
    /// sluice's version.
    public var version: String
    /// `starting`, `standby`, `streaming`, `stopped`, of a process that does not stream `sink only`.
    public var state: String
    /// Why, where the state alone does not say it.
    public var detail: String?
    /// When this was made.
    public var time: String
    /// Seconds since the process started.
    public var uptimeSeconds: Double
    /// The stream's side of PostgreSQL.
    public var source: Source?
    /// The stream's side of Kafka.
    public var kafka: Kafka?
    /// What was published, by table.
    public var tables: [Table]
    /// The sink.
    public var sink: Sink?
    /// Gaps that were accepted, or that stop the stream now.
    public var gaps: [Gap]
    /// How many errors there were since the start.
    public var errors: [ErrorCount]

    /// How it is, at a glance: what it is painted by.
    public enum Health: Sendable {
        /// It does what it is there for; a standby too.
        case good
        /// Not yet, or not for now.
        case waiting
        /// It has failed.
        case failed
    }

    /// How it is, at a glance: by what streams, and of a process that does not stream by the sink.
    public var health: Health {
        switch state == "sink only" ? sink?.state : state {
        case "streaming", "standby", "running": .good
        case "failed": .failed
        default: .waiting
        }
    }

    /// An agent of which nothing more is known.
    public init(
        name: String, version: String, state: String, time: String, uptimeSeconds: Double = 0, detail: String? = nil
    ) {
        self.name = name
        self.version = version
        self.state = state
        self.detail = detail
        self.time = time
        self.uptimeSeconds = uptimeSeconds
        tables = []
        gaps = []
        errors = []
    }

    /// The LSN ladder: each step is at most the one before.
    public struct Source: Sendable, Equatable {
        /// The end of the server's WAL.
        public var serverLSN: String?
        /// What has arrived here.
        public var receivedLSN: String?
        /// What Kafka has committed, with its position.
        public var storedLSN: String?
        /// What the slot was told.
        public var confirmedLSN: String?
        /// Where the slot keeps WAL from.
        public var restartLSN: String?
        /// Where the replay window begins: the oldest position that a replay can start from; nil without a window.
        public var replayLSN: String?
        /// That everything committed after this is in the window; nil where it is not known yet.
        public var replayTime: String?
        /// Bytes from the server's end to each step.
        public var receivedLagBytes: Int64?
        /// See ``receivedLagBytes``.
        public var storedLagBytes: Int64?
        /// See ``receivedLagBytes``.
        public var confirmedLagBytes: Int64?
        /// See ``receivedLagBytes``.
        public var restartLagBytes: Int64?
        /// Seconds since the oldest commit that has not been stored yet; nil unless it streams.
        public var lagSeconds: Double?
        /// WAL that the slot keeps.
        public var retainedWALBytes: Int64?
        /// WAL that may still be written before the slot is lost; nil: unlimited.
        public var safeWALBytes: Int64?
        /// The slot's name.
        public var slot: String?
        /// The epoch of positions.
        public var epoch: Int64?

        /// Nothing known yet.
        public init() {}
    }

    /// What went to Kafka since the start.
    public struct Kafka: Sendable, Equatable {
        /// Kafka transactions committed.
        public var transactions: Int64 = 0
        /// Rows in them.
        public var rows: Int64 = 0
        /// How long the last commit took, in milliseconds.
        public var lastCommitMilliseconds: Double?
        /// Bytes encoded and not yet committed.
        public var bufferedBytes: Int64 = 0
        /// Rows that could not be represented and are in the dead-letter topic; nil for none.
        public var deadLetters: Int64?

        /// Nothing sent yet.
        public init() {}
    }

    /// One table.
    public struct Table: Sendable, Equatable {
        /// `schema.table`
        public var table: String
        /// Its topic.
        public var topic: String
        /// Changes published since the start.
        public var inserts: Int64 = 0
        /// See ``inserts``.
        public var updates: Int64 = 0
        /// See ``inserts``.
        public var deletes: Int64 = 0
        /// See ``inserts``.
        public var truncates: Int64 = 0

        /// A table of which nothing was published yet.
        public init(table: String, topic: String) {
            self.table = table
            self.topic = topic
        }
    }

    /// What the sink did since the start.
    public struct Sink: Sendable, Equatable {
        /// `starting`, `running`, `paused` (the store does not keep up), `failed`.
        public var state: String
        /// Why, where it failed.
        public var detail: String?
        /// What this worker owns.
        public var partitions: [Partition] = []
        /// Objects written.
        public var objects: Int64 = 0
        /// Bytes in them, as stored.
        public var bytes: Int64 = 0
        /// Records dropped, because their position was already written.
        public var dropped: Int64 = 0

        /// A sink that has done nothing yet.
        public init(state: String) { self.state = state }
    }

    /// One partition that the sink owns.
    public struct Partition: Sendable, Equatable {
        /// Its topic.
        public var topic: String
        /// Its number.
        public var partition: Int64
        /// The last offset in an object.
        public var lastOffset: Int64?
        /// Records behind the end of the partition.
        public var lagRecords: Int64?
        /// Bytes in the object that is being filled.
        public var openBytes: Int64 = 0
        /// The hour of that object: `2026-11-25T19Z`.
        public var hour: String?

        /// A partition of which nothing was written yet.
        public init(topic: String, partition: Int64) {
            self.topic = topic
            self.partition = partition
        }
    }

    /// A stretch of changes that was lost.
    public struct Gap: Sendable, Equatable {
        /// What happened to the slot.
        public var kind: String
        /// Where it begins.
        public var fromLSN: String
        /// Where it ends.
        public var toLSN: String
        /// When it was accepted; nil: it was not.
        public var acceptedAt: String?

        /// A gap.
        public init(kind: String, fromLSN: String, toLSN: String, acceptedAt: String? = nil) {
            self.kind = kind
            self.fromLSN = fromLSN
            self.toLSN = toLSN
            self.acceptedAt = acceptedAt
        }
    }

    /// Errors of one class.
    public struct ErrorCount: Sendable, Equatable {
        /// The component and the kind, as in `sluice_errors_total`: `postgres/watch`, `kafka/_TRANSPORT`.
        public var kind: String
        /// How many.
        public var count: Int64

        /// Errors of one class.
        public init(kind: String, count: Int64) {
            self.kind = kind
            self.count = count
        }
    }
}
