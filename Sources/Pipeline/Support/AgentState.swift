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

    private let content = Mutex(Snapshot())
    private let meters: AgentMeters?

    /// - Parameter meters: where histograms are kept; nil for commands that show none.
    package init(meters: AgentMeters? = nil) { self.meters = meters }

    package var snapshot: Snapshot { content.withLock { $0 } }

    package var serverSeen: (lsn: LSN, clock: Int64) { content.withLock { $0.serverSeen } }

    /// See `Snapshot.looks`.
    package var looks: SilentServer.Looks { content.withLock { $0.looks } }

    /// What a position remembers: the publication as it was last seen with nothing amiss, and the server's timeline.
    var seen: (mark: PublicationMark?, timeline: UInt32?) { content.withLock { ($0.mark, $0.timeline) } }

    /// The publication as it was last seen with nothing amiss.
    var published: Publication? { content.withLock { $0.published } }

    /// The publication was looked at, and nothing is amiss.
    func saw(_ publication: Publication) {
        let mark = PublicationMark(of: publication)
        update { $0.saw(publication, mark) }
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
        content.withLock { $0.looked(sight, in: session) ? $0 : nil }
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
        let isNew = content.withLock { $0.failed(failure) }
        if isNew { meters?.seeFailure(failure, in: self) }
    }

    /// The stream is in another phase.
    /// - Parameter holder: who has the slot meanwhile.
    package func entered(_ phase: Phase, holder: Int32? = nil) { update { $0.entered(phase, holder: holder) } }

    /// Notes whether a replay window holds the slot back.
    func holds(_ window: ReplayWindow?) { update { $0.hasWindow = window != nil } }

    /// A transaction has arrived.
    package func received(_ transaction: Transaction) { update { $0.received(transaction) } }

    /// A Kafka transaction is committed.
    func committed(_ commit: Commit) {
        meters?.commitSeconds.observe(commit.seconds)
        meters?.batchRows.observe(Double(commit.rows))
        for time in commit.counts.commitTimes {
            meters?.commitToKafka.observe(max(0, Double(commit.now / 1000 - time) / 1e6))
        }
        let seen = content.withLock { $0.committed(commit) }
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
