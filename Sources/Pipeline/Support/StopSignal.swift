import Synchronization
package import Threads

/// Says to every loop that it is time to stop, and by when.
///
/// Each loop registers the wake-up that it waits on, so that a stop is seen at once.
package final class StopSignal: Sendable {
    private struct State {
        var deadline: Int64?
        var listeners: [Wakeup] = []
    }
    private let requested = Atomic<Bool>(false)
    private let state = Mutex(State())

    package init() {}

    /// Whether a stop was asked for.
    package var isRequested: Bool { requested.load(ordering: .acquiring) }

    /// The monotonic time, in nanoseconds, by which all must be over; nil while no stop was asked for.
    package var deadline: Int64? { state.withLock { $0.deadline } }

    /// Asks for a stop; a later call may only bring the deadline forward.
    package func request(deadline: Int64) {
        let listeners = state.withLock { state in
            state.deadline = min(state.deadline ?? deadline, deadline)
            // Locked: whoever registers meanwhile is either among these, or sees it.
            requested.store(true, ordering: .releasing)
            return state.listeners
        }
        for listener in listeners { listener.signal() }
    }

    /// Has `wakeup` signalled when a stop is asked for.
    package func register(_ wakeup: Wakeup) {
        state.withLock { $0.listeners.append(wakeup) }
        if isRequested { wakeup.signal() }
    }

    /// No longer signals `wakeup`.
    package func unregister(_ wakeup: Wakeup) {
        state.withLock { state in state.listeners.removeAll { $0 === wakeup } }
    }
}
