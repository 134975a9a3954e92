import Kafka
import Synchronization

/// What one session of the sink leaves to the next.
final class SinkMemory: Sendable {
    private struct State {
        var hasRun = false
        var missed: Set<TopicPartition> = []
    }

    private let state = Mutex(State())

    /// Whether a session of this process was given partitions, or had none to wait for.
    var hasRun: Bool { state.withLock { $0.hasRun } }

    func ran() { state.withLock { $0.hasRun = true } }

    /// Whether the last record of an object was not found in its log for the first time.
    func isFirstMiss(of partition: TopicPartition) -> Bool {
        state.withLock { $0.missed.insert(partition).inserted }
    }

    /// It was found.
    func isFound(in partition: TopicPartition) { _ = state.withLock { $0.missed.remove(partition) } }
}
