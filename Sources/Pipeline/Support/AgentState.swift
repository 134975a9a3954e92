package import ChangeData
import Postgres
import Synchronization

/// What the agent is doing, for `/status`, `/readyz` and the metrics: written by its threads now and then (never per row),
/// read by whoever asks.
package final class AgentState: Sendable {
    package enum Phase: String, Sendable, CaseIterable { case starting, standby, streaming, stopped }

    /// The threads that must go on for the agent to be healthy.
    package enum Loop: String, Sendable, CaseIterable {
        case stream, publisher, sink

        /// How long one turn may take, nanoseconds. A call to Kafka has a minute (`Publisher.callTimeout`), a turn up to two.
        var patience: Int64 { self == .publisher ? .seconds(180) : .seconds(60) }
    }

    package struct Table: Sendable {
        package var topic = ""
        /// Records by `Operation.rawValue`.
        private var operations = [UInt64](repeating: 0, count: OperationCounts.kinds)

        package subscript(operation: Operation) -> UInt64 {
            get { operations[Int(operation.rawValue)] }
            set { operations[Int(operation.rawValue)] = newValue }
        }

        /// Changes of rows and of the table: all records but tombstones and dead letters.
        package var changes: UInt64 { self[.create] + self[.update] + self[.delete] + self[.truncate] }
    }

    package struct Snapshot: Sendable {
        package var phase = Phase.starting
        /// Monotonic nanoseconds of the last turn of each loop that runs.
        package var turns: [Loop: Int64] = [:]
        /// Why it is not streaming, or the last error of the stream; nil when all is well.
        package var streamError: String?
        package var sinkFaults = StandingFaults()
        package var slotHolder: Int32?
        /// Why brokers let a client of ours not in, as it last said: what fails for it says only that no broker can be reached.
        package var kafkaRefusal: String?

        package var serverLSN = LSN(0)
        package fileprivate(set) var receivedLSN = LSN(0)
        package var confirmedLSN = LSN(0)
        package var restartLSN = LSN(0)
        /// Where the server's WAL ended, and a time by which all that had been committed was before it, microseconds since 1970.
        package var serverSeen: (lsn: LSN, clock: Int64) = (LSN(0), 0)
        /// Our walsender.
        var walsender: Walsender?
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
        package fileprivate(set) var unreceived: (lsn: LSN, since: Int64)?
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
        package fileprivate(set) var sessions: UInt64 = 0
        package var tables: [String: Table] = [:]
        /// The publication as it was last seen with nothing amiss.
        fileprivate(set) var published: Publication?
        fileprivate var mark: PublicationMark?
        /// Tables that the configuration wants and the publication does not have.
        package var unpublished: [String] = []
        /// By component and kind.
        package var failures: [Failure: UInt64] = [:]

        package var intake = Intake()
        package var sink = SinkStatus()

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

    package struct Failure: Hashable, Sendable {
        package var component: String
        package var kind: String
    }

    private let content = Mutex(Snapshot())
    private let meters: AgentMeters?

    /// - Parameter meters: where histograms are kept; nil for commands that show none.
    package init(meters: AgentMeters? = nil) { self.meters = meters }

    package var snapshot: Snapshot { content.withLock { $0 } }

    package var serverSeen: (lsn: LSN, clock: Int64) { content.withLock { $0.serverSeen } }

    /// What a position remembers: the publication as it was last seen with nothing amiss, and the server's timeline.
    var seen: (mark: PublicationMark?, timeline: UInt32?) { content.withLock { ($0.mark, $0.timeline) } }

    /// The publication as it was last seen with nothing amiss.
    var published: Publication? { content.withLock { $0.published } }

    /// The publication was looked at, and nothing is amiss.
    func saw(_ publication: Publication) {
        let mark = PublicationMark(of: publication)
        update { ($0.published, $0.mark) = (publication, mark) }
    }

    /// What a look from outside says of a server.
    struct Sight {
        /// Who holds the slot there.
        var holder: Walsender?
        var timeline: UInt32?
        var isOnStandby = false
        /// See `Snapshot.serverSeen`.
        var seen: (lsn: LSN, clock: Int64)
    }

    /// Takes it where it is the server that the session streams from; answers what holds then, else nil. Not what was asked before the
    /// session began: it may be older than what the session has seen. Nor what another server says that answers at the same address.
    func looked(_ sight: Sight, in session: UInt64) -> Snapshot? {
        content.withLock { snapshot in
            let holder = StreamServices.SlotHolder(sight.holder, ours: [snapshot.walsender].compactMap(\.self))
            guard snapshot.phase == .streaming, snapshot.sessions == session, holder.isOurs else { return nil }
            snapshot.timeline = sight.timeline
            snapshot.isOnStandby = sight.isOnStandby
            snapshot.serverSeen = sight.seen
            return snapshot
        }
    }

    /// Bytes on local disk that are not the sink's.
    var intakeBytes: Int { content.withLock { $0.intake.bytes } }

    package func update(_ change: (inout Snapshot) -> Void) { content.withLock { change(&$0) } }

    // MARK: Events

    /// A loop has turned.
    package func turned(_ loop: Loop, now: Int64) { update { $0.turns[loop] = now } }

    /// A loop has ended: it need not turn.
    package func left(_ loop: Loop) { update { $0.turns[loop] = nil } }

    /// Something failed and is tried again, or ends the agent.
    package func failed(_ component: String, kind: String) {
        let failure = Failure(component: component, kind: kind)
        let isNew = content.withLock { snapshot in
            let isNew = snapshot.failures[failure] == nil
            snapshot.failures[failure, default: 0] += 1
            return isNew
        }
        if isNew { meters?.seeFailure(failure, in: self) }
    }

    package func entered(_ phase: Phase, holder: Int32? = nil) {
        update { snapshot in
            snapshot.phase = phase
            snapshot.unreceived = nil
            snapshot.slotHolder = holder
            snapshot.pausedSince = nil
            if phase == .streaming {
                snapshot.streamError = nil
                snapshot.sessions += 1
            }
        }
    }

    /// Notes whether a replay window holds the slot back.
    func holds(_ window: ReplayWindow?) { update { $0.hasWindow = window != nil } }

    /// A transaction has arrived.
    package func received(_ transaction: Transaction) {
        update { snapshot in
            snapshot.receivedLSN = max(snapshot.receivedLSN, transaction.endLSN)
            snapshot.receivedTime = transaction.commitTime
            if snapshot.pendingTime == nil, transaction.endLSN > snapshot.stored?.lsn ?? LSN(0) {
                snapshot.pendingTime = transaction.commitTime
            }
        }
    }

    /// A Kafka transaction is committed.
    func committed(_ commit: Commit) {
        meters?.commitSeconds.observe(commit.seconds)
        meters?.batchRows.observe(Double(commit.rows))
        for time in commit.counts.commitTimes {
            meters?.commitToKafka.observe(max(0, Double(commit.now / 1000 - time) / 1e6))
        }
        var seen: [String] = []
        let kinds = OperationCounts.kinds
        content.withLock { snapshot in
            snapshot.stored = commit.position
            snapshot.pendingTime = commit.position.lsn >= snapshot.receivedLSN ? nil : snapshot.receivedTime
            snapshot.kafkaTransactions += 1
            snapshot.transactions += UInt64(commit.counts.commitTimes.count)
            snapshot.rows += UInt64(commit.rows)
            snapshot.messages += UInt64(commit.counts.messages)
            snapshot.lastCommitSeconds = commit.seconds
            for (index, name) in commit.tables.enumerated() where (index + 1) * kinds <= commit.counts.byTable.count {
                for operation in Operation.allCases {
                    let count = commit.counts.byTable[index * kinds + Int(operation.rawValue)]
                    guard count > 0 else { continue }
                    if snapshot.tables[name] == nil { seen.append(name) }
                    snapshot.tables[name, default: Table()][operation] += UInt64(count)
                }
                // Not known from dead letters.
                let topic = commit.counts.topics[index]
                if snapshot.tables[name]?.topic.isEmpty == true, commit.topics.indices.contains(topic) {
                    snapshot.tables[name]?.topic = commit.topics[topic]
                }
            }
        }
        for name in seen { meters?.seeTable(name, in: self) }
    }

    /// Every hour of a topic before this time has a manifest.
    func sealed(_ topic: String, until time: Int64) {
        let isNew = content.withLock { snapshot in
            let isNew = snapshot.sink.topics[topic] == nil
            snapshot.sink.topics[topic, default: SinkStatus.Topic()].sealedUntil = time
            return isNew
        }
        if isNew { meters?.seeTopic(topic, in: self) }
    }

    /// An object is in the store, `seconds` after its oldest record was committed in PostgreSQL.
    func stored(topic: String, bytes: Int, records: Int, tombstones: Int, seconds: Double) {
        meters?.commitToStore.observe(seconds)
        let isNew = content.withLock { snapshot in
            let isNew = snapshot.sink.topics[topic] == nil
            snapshot.sink.topics[topic, default: SinkStatus.Topic()].add(
                bytes: bytes, records: records, tombstones: tombstones)
            return isNew
        }
        if isNew { meters?.seeTopic(topic, in: self) }
    }

    /// What a commit of a Kafka transaction was.
    struct Commit {
        var position: StoredPosition
        var rows: Int
        var bytes: Int
        var counts: OperationCounts
        /// The tables' names by index, and the topics'.
        var tables: [String]
        var topics: [String]
        /// How long the commit took.
        var seconds: Double
        /// Nanoseconds since 1970.
        var now: Int64
    }
}

extension AgentState.Snapshot {
    /// Where the replay window begins, and the time after which everything that was committed is in it, in microseconds since
    /// 1970; nil without a window.
    package var window: (lsn: LSN, time: Int64?)? {
        guard hasWindow, confirmedLSN > LSN(0) else { return nil }
        return (confirmedLSN, stored?.marks.first { $0.lsn >= confirmedLSN }?.time)
    }
}
