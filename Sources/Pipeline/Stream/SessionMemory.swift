import ChangeData
import Synchronization

/// What one session leaves to the next: whether rows have flowed since the process began, which walsender was ours, and
/// whether protocol 2 may be used.
final class SessionMemory: Sendable {
    private let streamed = Atomic<Bool>(false)
    private let pid = Atomic<Int32>(0)
    private let choice = Mutex(StreamingChoice())
    private let missing = Mutex(MissingPosition())
    private let unsettled = Mutex(Set<String>())
    private let limit = Mutex(Int.max)

    /// Whether a session of this process has streamed.
    var hasStreamed: Bool { streamed.load(ordering: .acquiring) }
    /// The process of our last walsender; 0 for none.
    var walsender: Int32 { pid.load(ordering: .acquiring) }

    /// Whether a position that is not shown is gone; see `MissingPosition`.
    func isGone(now: Int64) -> Bool { missing.withLock { $0.isGone(now: now, hasStreamed: hasStreamed) } }
    func foundPosition() { missing.withLock { $0.found() } }

    /// Topics in which a transaction was found open that our producer may have left.
    var unsettledTopics: Set<String> { unsettled.withLock { $0 } }
    func noteUnsettled(_ topic: String) { unsettled.withLock { _ = $0.insert(topic) } }

    /// Bytes of one batch that every topic takes which was met; see `StreamSettings.smallestLimit`.
    var smallestLimit: Int { limit.withLock { $0 } }
    func noteLimit(_ bytes: Int) { limit.withLock { $0 = min($0, bytes) } }

    func began() { streamed.store(true, ordering: .releasing) }
    func holdsSlot(walsender: Int32) { pid.store(walsender, ordering: .releasing) }

    /// Whether a session that starts may use protocol 2.
    func mayStream(restart: LSN?) -> Bool { choice.withLock { $0.isOn(restart: restart) } }
    func refused(_ kind: StreamingRefusal.Kind, at lsn: LSN) { choice.withLock { $0.refused(kind, at: lsn) } }
}
