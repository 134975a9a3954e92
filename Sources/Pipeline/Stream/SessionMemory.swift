import ChangeData
import Postgres
import Synchronization

/// What one session leaves to the next: whether rows have flowed since the process began, which walsenders were ours, and
/// whether protocol 2 may be used.
final class SessionMemory: Sendable {
    private let streamed = Atomic<Bool>(false)
    private let own = Mutex([Walsender]())
    private let choice = Mutex(StreamingChoice())
    private let missing = Mutex(MissingPosition())
    private let unsettled = Mutex(Set<String>())
    private let limit = Mutex(Int.max)
    private let largest = Mutex(0)
    private let last = Mutex<(before: LSN, exit: AgentExit)?>(nil)
    private let tooLarge = Atomic<Bool>(false)

    /// Whether a session of this process has streamed.
    var hasStreamed: Bool { streamed.load(ordering: .acquiring) }
    /// Our last walsenders. More than one: where the answer to `START_REPLICATION` was lost, the server may give the slot to an older
    /// one only after the next has asked for it.
    var walsenders: [Walsender] { own.withLock { $0 } }

    /// Whether a position that is not shown is gone; see `MissingPosition`.
    func isGone(now: Int64) -> Bool { missing.withLock { $0.isGone(now: now, hasStreamed: hasStreamed) } }
    func foundPosition() { missing.withLock { $0.found() } }

    /// The transaction that cannot be published, and why.
    var end: (before: LSN, exit: AgentExit)? { last.withLock { $0 } }
    /// Whether the next session shall publish what is before the transaction; false where one has tried to.
    func ends(before lsn: LSN, _ exit: AgentExit) -> Bool {
        last.withLock { last in
            if last?.before == lsn { return false }
            last = (lsn, exit)
            return true
        }
    }

    /// Whether brokers have refused records as too large since the last commit: it is found out once more which.
    func refusedAsTooLarge() -> Bool { tooLarge.exchange(true, ordering: .acquiringAndReleasing) }
    /// Kafka holds all up to there.
    func committed(upTo lsn: LSN) {
        tooLarge.store(false, ordering: .releasing)
        // Somebody has made room for it.
        last.withLock { last in if let before = last?.before, before < lsn { last = nil } }
    }

    /// Topics in which a transaction was found open that our producer may have left.
    var unsettledTopics: Set<String> { unsettled.withLock { $0 } }
    func noteUnsettled(_ topic: String) { unsettled.withLock { _ = $0.insert(topic) } }
    func settled(_ topics: Set<String>) { unsettled.withLock { $0.subtract(topics) } }

    /// Bytes of one batch that every topic takes which was met; see `StreamSettings.smallestLimit`.
    var smallestLimit: Int { limit.withLock { $0 } }
    func noteLimit(_ bytes: Int) { limit.withLock { $0 = min($0, bytes) } }

    /// Bytes of the largest batch that any topic takes which was met and nobody had foreseen.
    var largestLimit: Int { largest.withLock { $0 } }
    func noteLargest(_ bytes: Int) { largest.withLock { $0 = max($0, bytes) } }

    func began() { streamed.store(true, ordering: .releasing) }
    /// One is about to ask for the slot.
    func asks(_ walsender: Walsender) { own.withLock { $0 = $0.suffix(7) + [walsender] } }

    /// Whether a session that starts may use protocol 2.
    func mayStream(restart: LSN?) -> Bool { choice.withLock { $0.isOn(restart: restart) } }
    func refused(_ kind: StreamingRefusal.Kind, at lsn: LSN) { choice.withLock { $0.refused(kind, at: lsn) } }
}
