package import ChangeData
import Postgres

/// What there is to know of the agent, as a value.
extension AgentState {
    /// All of it at one moment.
    package struct Snapshot: Sendable {
        package var phase = Phase.starting
        /// Monotonic nanoseconds of the last turn of each loop that runs.
        package var turns: [Loop: Int64] = [:]
        /// Why it is not streaming, or the last error of the stream; nil when all is well.
        package var streamError: String?
        package var sinkFaults = StandingFaults()
        /// What the sink ends with, from when that is known.
        package var sinkExit: AgentExit?
        package var slotHolder: Int32?
        /// Why brokers let a client of ours not in, as it last said: what fails for it says only that no broker can be reached.
        package var kafkaRefusal: String?

        package var serverLSN = LSN(0)
        package private(set) var receivedLSN = LSN(0)
        package var confirmedLSN = LSN(0)
        package var restartLSN = LSN(0)
        /// Where the server's WAL ended, and a time by which all that had been committed was before it, microseconds since 1970.
        package var serverSeen: (lsn: LSN, clock: Int64) = (LSN(0), 0)
        /// What looks from outside have found of this session.
        package private(set) var looks = SilentServer.Looks()
        /// Our walsender.
        var walsender: Walsender?
        /// How to make another connection to its server.
        var server: ConnectionSettings?
        /// The timeline of the server that it is of, as it was last seen.
        var timeline: UInt32?
        /// Whether it was a standby then, or when the session began.
        var isOnStandby = false
        /// Whether a replay window holds the slot back.
        package var hasWindow = false
        package var stored: StoredPosition?
        /// Commit time of the last transaction received, microseconds since 1970.
        package var receivedTime: Int64 = 0
        /// An end of the server's WAL that was seen and has not been received, and since when, microseconds since 1970; nil where all is.
        package private(set) var unreceived: (lsn: LSN, since: Int64)?
        /// Commit time of the oldest transaction that was received and is not in Kafka yet, as far as is known.
        package var pendingTime: Int64?
        package var retainedWAL: UInt64?
        package var safeWAL: Int64?

        package var transactions: UInt64 = 0
        package var kafkaTransactions: UInt64 = 0
        package var rows: UInt64 = 0
        package var messages: UInt64 = 0
        /// Changes in `kafka.dead_letter_topic`.
        package var deadLetters: UInt64 {
            tables.values.reduce(0) { $0 + $1[.deadLetter] }
        }
        package var lastCommitSeconds = 0.0
        package var bufferedBytes = 0
        /// Since when the stream reads nothing, all its memory waiting for Kafka: monotonic nanoseconds. Nil while it reads.
        package var pausedSince: Int64?
        package var producersRenewed: UInt64 = 0
        /// How often it began to stream.
        package private(set) var sessions: UInt64 = 0
        package var tables: [String: Table] = [:]
        /// The publication as it was last seen with nothing amiss.
        private(set) var published: Publication?
        /// What a position remembers of it.
        private(set) var mark: PublicationMark?
        /// Tables that the configuration wants and the publication does not have.
        package var unpublished: [String] = []
        /// By component and kind.
        package var failures: [Failure: UInt64] = [:]

        package var intake = Intake()
        package var sink = SinkStatus()
    }

    /// The records of one table.
    package struct Table: Sendable {
        /// Where they go; empty where that is not known yet.
        package var topic = ""
        /// Records by `Operation.rawValue`.
        private var operations = [UInt64](repeating: 0, count: OperationCounts.kinds)

        /// How many of a kind.
        package subscript(operation: Operation) -> UInt64 {
            get { operations[Int(operation.rawValue)] }
            set { operations[Int(operation.rawValue)] = newValue }
        }

        /// Changes of rows and of the table: all records but tombstones and dead letters.
        package var changes: UInt64 { self[.create] + self[.update] + self[.delete] + self[.truncate] }
    }

    /// Transactions that are received before their commit.
    package struct Intake: Sendable {
        /// Whether the session uses protocol 2.
        package private(set) var isStreaming = false
        /// Those that are open, and their bytes on local disk.
        package var open = 0
        package var bytes = 0
        /// Those that were committed since the process began.
        package var published: UInt64 = 0

        /// A session begins: nothing is left of the one before.
        mutating func start(isStreaming: Bool) {
            self.isStreaming = isStreaming
            open = 0
            bytes = 0
        }
    }

    /// A kind of failure.
    package struct Failure: Hashable, Sendable {
        package var component: String
        package var kind: String
    }
}

/// What changes with each event: without a lock and without a clock.
extension AgentState.Snapshot {
    /// The server's WAL was seen to end there, at a time of ours in microseconds since 1970.
    package mutating func see(_ end: LSN, at time: Int64) {
        serverLSN = max(serverLSN, end)
        // Who does not stream gets nothing.
        if phase == .streaming, unreceived == nil, end > receivedLSN { unreceived = (end, time) }
    }

    /// The server has sent all up to there.
    package mutating func received(_ lsn: LSN) {
        receivedLSN = lsn
        if let seen = unreceived, seen.lsn <= lsn { unreceived = nil }
    }

    /// A transaction has arrived.
    mutating func received(_ transaction: Transaction) {
        receivedLSN = max(receivedLSN, transaction.endLSN)
        receivedTime = transaction.commitTime
        if pendingTime == nil, transaction.endLSN > stored?.lsn ?? LSN(0) { pendingTime = transaction.commitTime }
    }

    /// The stream is in another phase.
    mutating func entered(_ phase: AgentState.Phase, holder: Int32?) {
        self.phase = phase
        unreceived = nil
        slotHolder = holder
        pausedSince = nil
        looks = SilentServer.Looks()
        if phase == .streaming {
            streamError = nil
            sessions += 1
        }
    }

    /// The publication was looked at, and nothing is amiss.
    mutating func saw(_ publication: Publication, _ mark: PublicationMark) {
        (published, self.mark) = (publication, mark)
    }

    /// Takes what was seen from outside, if it is of the server that this session streams from: answers whether it is.
    mutating func looked(_ sight: AgentState.Sight, in session: UInt64) -> Bool {
        let holder = StreamServices.SlotHolder(sight.holder, ours: [walsender].compactMap(\.self))
        looks.unansweredSince = nil
        guard phase == .streaming, sessions == session else { return false }
        // Where the server does not tell us our walsender, nobody can say that it is another's.
        looks.strange = holder.isOurs || walsender == nil ? 0 : looks.strange + 1
        guard holder.isOurs else { return false }
        timeline = sight.timeline
        isOnStandby = sight.isOnStandby
        serverSeen = sight.seen
        return true
    }

    /// A look from outside had no answer from anybody.
    mutating func lookedInVain(at now: Int64) { looks.unansweredSince = looks.unansweredSince ?? now }

    /// Counts a failure; answers whether it is the first of its kind.
    mutating func failed(_ failure: AgentState.Failure) -> Bool {
        let isNew = failures[failure] == nil
        failures[failure, default: 0] += 1
        return isNew
    }

    /// A Kafka transaction is committed: answers the tables that had no record before it.
    mutating func committed(_ commit: AgentState.Commit) -> [String] {
        stored = commit.position
        pendingTime = commit.position.lsn >= receivedLSN ? nil : receivedTime
        kafkaTransactions += 1
        transactions += UInt64(commit.counts.commitTimes.count)
        rows += UInt64(commit.rows)
        messages += UInt64(commit.counts.messages)
        lastCommitSeconds = commit.seconds
        var seen: [String] = []
        let kinds = OperationCounts.kinds
        for (index, name) in commit.tables.enumerated() where (index + 1) * kinds <= commit.counts.byTable.count {
            for operation in Operation.allCases {
                let count = commit.counts.byTable[index * kinds + Int(operation.rawValue)]
                guard count > 0 else { continue }
                if tables[name] == nil { seen.append(name) }
                tables[name, default: AgentState.Table()][operation] += UInt64(count)
            }
            // Not known from dead letters.
            let topic = commit.counts.topics[index]
            if tables[name]?.topic.isEmpty == true, commit.topics.indices.contains(topic) {
                tables[name]?.topic = commit.topics[topic]
            }
        }
        return seen
    }

    /// Where the replay window begins, and the time after which everything that was committed is in it, in microseconds since
    /// 1970; nil without a window.
    package var window: (lsn: LSN, time: Int64?)? {
        guard hasWindow, confirmedLSN > LSN(0) else { return nil }
        return (confirmedLSN, stored?.marks.first { $0.lsn >= confirmedLSN }?.time)
    }
}
