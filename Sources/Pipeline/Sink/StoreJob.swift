import Kafka
import ObjectStorage
import Synchronization
import Threads

/// What the consumer's thread asks of the store's.
enum StoreJob: Sendable {
    /// Put a complete object.
    case put(Segment, generation: Int)
    /// Say what is under the key of an object that grows.
    case look(TopicPartition, key: String, generation: Int)
    /// Say which objects are the last ones.
    case resolve(topic: String, [Asked])

    /// A partition whose last object is asked for.
    struct Asked: Sendable {
        var partition: Int32
        var generation: Int
        var note: OffsetNote?
    }
}

/// What became of a job. One of an older generation of its partition is of no interest any more.
enum StoreResult: Sendable {
    case put(Segment, generation: Int, PutOutcome)
    case looked(TopicPartition, key: String, generation: Int, Found)
    case resolved(topic: String, TopicPin, [(asked: StoreJob.Asked, key: String?, object: StoredObject?)])
    case failed(SinkFailure)

    enum Found: Sendable {
        case nothing
        /// nil where it has no metadata of ours.
        case object(StoredObject?)
    }

    enum PutOutcome: Sendable {
        /// It is stored; so many bytes.
        case created(bytes: Int)
        /// There is an object of that name. It may be ours, of an attempt that seemed to fail: then it has so many bytes.
        case taken(StoredObject?, bytes: Int?)
        /// There is no room on the disk to pack it.
        case spoolFull(StorageError)
    }
}

/// Jobs to the store's threads and results back.
final class StoreQueue: Sendable {
    private struct State {
        var jobs: [StoreJob] = []
        var results: [StoreResult] = []
        var isClosed = false
        var naps: [Wakeup] = []
        /// Jobs that a thread has taken and not answered.
        var underWay = 0
    }

    private let state = Mutex(State())
    /// Signalled when there are jobs.
    private let filled = Wakeup()
    /// Signalled when there are results.
    let arrived = Wakeup()
    /// Ends what is under way.
    let abort = AbortFlag()

    func push(_ job: StoreJob) {
        state.withLock { $0.jobs.append(job) }
        filled.signal()
    }

    /// Waits for a job; nil when the queue is closed.
    func pop() -> StoreJob? {
        while true {
            let (job, more, isClosed) = state.withLock { state in
                let job = state.jobs.isEmpty || state.isClosed ? nil : state.jobs.removeFirst()
                if job != nil { state.underWay += 1 }
                return (job, !state.jobs.isEmpty, state.isClosed)
            }
            // One signal may have stood for several jobs, and it wakes one thread.
            if more || isClosed { filled.signal() }
            if isClosed { return nil }
            if let job { return job }
            filled.wait(milliseconds: 1000)
        }
    }

    /// Whether something waits for the store, or for us.
    var hasWork: Bool { state.withLock { !$0.jobs.isEmpty || !$0.results.isEmpty || $0.underWay > 0 } }

    /// Drops the puts of a partition that nobody has begun.
    func cancel(_ partition: TopicPartition) {
        state.withLock { state in
            state.jobs.removeAll { job in
                if case .put(let segment, _) = job { segment.partition == partition } else { false }
            }
        }
    }

    func answer(_ result: StoreResult) {
        state.withLock { state in
            state.results.append(result)
            state.underWay -= 1
        }
        arrived.signal()
    }

    func takeResult() -> StoreResult? {
        state.withLock { $0.results.isEmpty ? nil : $0.results.removeFirst() }
    }

    /// Waits between two attempts; false when all is to end.
    func nap(_ wakeup: Wakeup, milliseconds: Int) -> Bool {
        state.withLock { state in
            if !state.isClosed { state.naps.append(wakeup) }
        }
        if !abort.isRaised { wakeup.wait(milliseconds: milliseconds) }
        return state.withLock { state in
            state.naps.removeAll { $0 === wakeup }
            return !state.isClosed
        }
    }

    /// Ends all: what runs is aborted, what waits is dropped.
    func close() {
        abort.raise()
        let naps = state.withLock { state in
            state.isClosed = true
            state.jobs = []
            return state.naps
        }
        filled.signal()
        for nap in naps { nap.signal() }
    }
}
