import Synchronization

/// What one session leaves to the next: whether rows have flowed since the process began, and which walsender was ours.
final class SessionMemory: Sendable {
    private let streamed = Atomic<Bool>(false)
    private let pid = Atomic<Int32>(0)

    /// Whether a session of this process has streamed.
    var hasStreamed: Bool { streamed.load(ordering: .acquiring) }
    /// The process of our last walsender; 0 for none.
    var walsender: Int32 { pid.load(ordering: .acquiring) }

    func began() { streamed.store(true, ordering: .releasing) }
    func holdsSlot(walsender: Int32) { pid.store(walsender, ordering: .releasing) }
}
