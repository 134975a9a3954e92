import Kafka
import ObjectStorage
import Synchronization

/// What the sink's session and its sealer tell each other.
final class HourBoard: Sendable {
    /// An hour that an object was put for. Whether it had been sealed by then is for the sealer to see: what this worker knows of
    /// the source's clock may be older than what another one has sealed by.
    struct Late: Hashable, Sendable {
        var topic: String
        var hour: SourceHour
    }

    private struct State {
        var reach: [TopicPartition: SealDecision.Reach] = [:]
        var passed: SourceHour?
        /// With the monotonic nanoseconds when the last object was put.
        var late: [Late: Int64] = [:]
        var isClosed = false
    }

    private let state = Mutex(State())
    /// Signalled when the sink ends.
    let wakeup = Wakeup()
    /// Ends a call to the store that is under way.
    let abort = AbortFlag()

    // MARK: The session's

    /// How far the partitions of this worker are; empty when it has none.
    func publish(_ reach: [TopicPartition: SealDecision.Reach]) { state.withLock { $0.reach = reach } }

    /// The last hour that has passed by the source's clock: its objects need not wait for more. Nil while that is not known.
    var passed: SourceHour? { state.withLock { $0.passed } }

    /// An object is in the store.
    func stored(_ topic: String, _ hour: SourceHour, now: Int64) {
        state.withLock { $0.late[Late(topic: topic, hour: hour)] = now }
    }

    func close() {
        state.withLock { $0.isClosed = true }
        abort.raise()
        wakeup.signal()
    }

    // MARK: The sealer's

    var reach: [TopicPartition: SealDecision.Reach] { state.withLock { $0.reach } }
    var isClosed: Bool { state.withLock { $0.isClosed } }

    func pass(_ hour: SourceHour) { state.withLock { $0.passed = max($0.passed ?? hour, hour) } }

    var hasLate: Bool { state.withLock { !$0.late.isEmpty } }

    func takeLate() -> [Late: Int64] {
        state.withLock { state in
            defer { state.late = [:] }
            return state.late
        }
    }

    /// To be looked at again.
    func keep(_ late: [Late: Int64]) { state.withLock { $0.late.merge(late, uniquingKeysWith: max) } }
}
