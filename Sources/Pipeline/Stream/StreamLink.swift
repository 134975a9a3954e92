import ChangeData
import Postgres
import Synchronization

/// What the source thread and the publisher thread of one session say to each other, besides the chunks.
final class StreamLink: Sendable {
    private struct State {
        var start: StoredPosition?
        var history: HistoryCheck?
        var durable = LSN(0)
        var marks: [ReplayWindow.Mark] = []
        var idle: ReplicationFeedback.Idle?
        var topics: [String] = []
        var tables: [String] = []
        var failure: SessionFailure?
        var publisherDone = false
        var walsender: [Walsender] = []
    }

    /// Chunks from the source to the publisher and back. Its `freed` also wakes the source for all else that it waits for.
    let queue: ChunkQueue<RecordChunk>
    private let state = Mutex(State())

    init(memory: Int, chunkBytes: Int) {
        queue = ChunkQueue(
            limit: memory, nominal: chunkBytes, make: { RecordChunk(capacity: chunkBytes) },
            size: { $0.capacity })
    }

    // MARK: From the publisher

    /// The position is known and nobody else can move it: decoding may begin after it.
    /// - Parameter history: what the server sends first is compared with it.
    func begin(after position: StoredPosition, history: HistoryCheck? = nil) {
        state.withLock { state in
            state.start = position
            state.history = history
            state.durable = position.lsn
            state.marks = position.marks
        }
        queue.freed.signal()
    }

    /// Kafka has committed up to `lsn`, and `marks` with it.
    func committed(upTo lsn: LSN, marks: [ReplayWindow.Mark] = []) {
        state.withLock { state in
            state.durable = lsn
            state.marks = marks
        }
        queue.freed.signal()
    }

    /// The publisher has ended, because of `failure` or because it was done.
    func publisherEnded(_ failure: SessionFailure?) {
        state.withLock { state in
            state.publisherDone = true
            if state.failure == nil { state.failure = failure }
        }
        queue.freed.signal()
    }

    /// The idle position to commit, if one waits; taking it is a promise to commit it.
    func takeIdle() -> ReplicationFeedback.Idle? {
        state.withLock { state in
            defer { state.idle = nil }
            return state.idle
        }
    }

    /// The names that indices in records mean, as far as they are known.
    var names: (topics: [String], tables: [String]) { state.withLock { ($0.topics, $0.tables) } }

    /// The source has given up: the publisher must end too.
    var isAborted: Bool { state.withLock { $0.failure != nil } }

    /// Our walsender; none until it has the slot.
    var walsender: [Walsender] { state.withLock { $0.walsender } }

    // MARK: From the source

    /// Where to begin; nil until the publisher knows.
    var start: StoredPosition? { state.withLock { $0.start } }

    /// What the server sends first is compared with.
    var history: HistoryCheck? { state.withLock { $0.history } }

    /// What Kafka has committed; zero until it is known.
    var durable: LSN { state.withLock { $0.durable } }

    /// The same, with what the replay window remembers.
    var committed: (lsn: LSN, marks: [ReplayWindow.Mark]) { state.withLock { ($0.durable, $0.marks) } }

    /// The publisher's failure, if it has failed.
    var failure: SessionFailure? { state.withLock { $0.failure } }

    /// Whether the publisher has ended.
    var isPublisherDone: Bool { state.withLock { $0.publisherDone } }

    /// A relation was described: from here on records may name these.
    func define(topics: [String], tables: [String]) {
        state.withLock { state in
            state.topics = topics
            state.tables = tables
        }
    }

    /// All that was received is durable, and the server has moved on.
    func offerIdle(_ idle: ReplicationFeedback.Idle) {
        state.withLock { $0.idle = idle }
        queue.filled.signal()
    }

    func holdsSlot(_ walsender: Walsender) { state.withLock { $0.walsender = [walsender] } }

    /// The source has failed: the publisher stops without a commit.
    func abort(_ failure: SessionFailure) {
        state.withLock { state in
            if state.failure == nil { state.failure = failure }
        }
        queue.close()
    }
}
