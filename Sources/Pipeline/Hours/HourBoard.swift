import Kafka
import ObjectStorage
import Synchronization
import Threads

/// What the sink's session and its sealer tell each other.
final class HourBoard: Sendable {
    /// An hour that an object was put for. Whether it had been sealed by then is for the sealer to see: what this worker knows of
    /// the source's clock may be older than what another one has sealed by.
    struct Late: Hashable, Sendable {
        var topic: String
        var hour: SourceHour
    }

    private struct Put {
        /// Monotonic nanoseconds when the last object was put.
        var at: Int64
        /// Of which partitions.
        var partitions: Set<Int32>
        /// When it is looked at.
        var due: Int64 = .min
    }

    private struct State {
        var reach: [TopicPartition: SealDecision.Reach] = [:]
        var passed: SourceHour?
        /// Hours with an object that may be in no manifest: an hour leaves only when that is known to be in one.
        var late: [Late: Put] = [:]
        /// Such hours of the partitions' former workers, before they get into `late`: they may be many.
        var taken: [TopicPartition: HourSet] = [:]
        /// Counts what changes in the two.
        var version = 0
        var isClosed = false

        mutating func put(_ partition: TopicPartition, _ hour: SourceHour, now: Int64) {
            let key = Late(topic: partition.topic, hour: hour)
            var put = late[key] ?? Put(at: now, partitions: [])
            put.partitions.insert(partition.partition)
            (put.at, put.due) = (now, .min)
            late[key] = put
            version += 1
        }

        /// Moves some of what was taken over.
        mutating func admit(_ most: Int, now: Int64) {
            var left = most
            while left > 0, let partition = taken.keys.first {
                if let hour = taken[partition]?.popLast() {
                    put(partition, hour, now: now)
                    left -= 1
                }
                if taken[partition]?.isEmpty ?? true { taken[partition] = nil }
            }
        }
    }

    private let state = Mutex(State())
    /// Signalled when the sink ends.
    let wakeup = Wakeup()
    /// Ends a call to the store that is under way.
    let abort = AbortFlag()
    /// Whether the store still is the one that it was.
    let witness = StoreWitness()

    // MARK: The session's

    /// How far the partitions of this worker are; empty when it has none.
    func publish(_ reach: [TopicPartition: SealDecision.Reach]) { state.withLock { $0.reach = reach } }

    /// The last hour that has passed by the source's clock: its objects need not wait for more. Nil while that is not known.
    var passed: SourceHour? { state.withLock { $0.passed } }

    /// An object is in the store.
    func stored(_ partition: TopicPartition, _ hour: SourceHour, now: Int64) {
        state.withLock { $0.put(partition, hour, now: now) }
    }

    /// The worker that had the partition before had objects in these hours, and did not know whether a manifest names them.
    func takeOver(_ partition: TopicPartition, _ hours: HourSet) {
        guard !hours.isEmpty else { return }
        state.withLock { state in
            state.taken[partition, default: HourSet()].formUnion(hours)
            state.version += 1
        }
    }

    /// By partition, the hours with an object that may be in no manifest: the next worker must know of them.
    /// - Returns: nil where that is as at `version`.
    func unsealed(since version: Int) -> (version: Int, hours: [TopicPartition: HourSet])? {
        state.withLock { state in
            guard state.version != version else { return nil }
            var hours = state.taken
            for (late, put) in state.late {
                for partition in put.partitions {
                    hours[TopicPartition(late.topic, partition), default: HourSet()].insert(late.hour)
                }
            }
            return (state.version, hours)
        }
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

    /// Up to `most` hours to be looked at, each with the time when its last object was put; the latest first.
    func due(until passed: SourceHour, now: Int64, most: Int) -> [(late: Late, at: Int64)] {
        state.withLock { state in
            state.admit(most, now: now)
            let due = state.late.filter { $0.key.hour <= passed && $0.value.due <= now }
            return due.sorted { $0.key.hour > $1.key.hour }.prefix(most).map { ($0.key, $0.value.at) }
        }
    }

    /// Manifests name all that was put for this hour until `at`, or there is nothing.
    func settle(_ late: Late, putAt at: Int64) {
        state.withLock { state in
            guard state.late[late]?.at == at else { return }
            state.late[late] = nil
            state.version += 1
        }
    }

    /// To be looked at again.
    func postpone(_ late: Late, until due: Int64) { state.withLock { $0.late[late]?.due = due } }
}
