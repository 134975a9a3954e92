import Synchronization
package import Threads

/// Hands chunks of encoded records from the source thread to the publisher and back, bounded in bytes.
///
/// The source waits on `freed` (in one `poll` with its socket), the publisher on `filled`; neither wait has an end of its
/// own, so every waiter brings a deadline.
package final class ChunkQueue<Chunk: Sendable>: Sendable {
    /// Raised when a chunk was handed on, or the queue was closed: the publisher's.
    package let filled = Wakeup()
    /// Raised when a chunk came back, or the queue was closed: the source's.
    package let freed = Wakeup()

    private struct State {
        var ready: [Chunk] = []
        var free: [Chunk] = []
        var bytesOut = 0
        var closed = false
        /// Whether the source keeps a chunk back that could be handed on.
        var keepsBack = false
    }
    private let state = Mutex(State())
    private let limit: Int
    private let nominal: Int
    private let make: @Sendable () -> Chunk
    private let size: @Sendable (Chunk) -> Int

    /// - Parameters:
    ///   - limit: bytes of chunks that may be out of the pool at once.
    ///   - nominal: bytes of an ordinary chunk; a larger one is not kept for reuse.
    ///   - make: makes an empty chunk.
    ///   - size: bytes that a chunk holds on to.
    package init(
        limit: Int, nominal: Int, make: @escaping @Sendable () -> Chunk, size: @escaping @Sendable (Chunk) -> Int
    ) {
        self.limit = limit
        self.nominal = nominal
        self.make = make
        self.size = size
    }

    /// An empty chunk to fill; nil while the bound is reached. The last one that comes may be filled past its size by one
    /// large row: the bound is then exceeded by that row.
    package func take() -> Chunk? {
        let (reused, allowed): (Chunk?, Bool) = state.withLock { state in
            guard !state.closed, state.bytesOut + nominal <= limit else { return (nil, false) }
            state.bytesOut += nominal
            return (state.free.popLast(), true)
        }
        return allowed ? (reused ?? make()) : nil
    }

    /// Hands a filled chunk to the publisher.
    package func push(_ chunk: Chunk) {
        let extra = max(0, size(chunk) - nominal)
        state.withLock { state in
            state.bytesOut += extra
            state.ready.append(chunk)
            state.keepsBack = false
        }
        filled.signal()
    }

    /// So many chunks keep the publisher busy until the source has heard that it needs another.
    private static var enough: Int { 2 }

    /// Whether a chunk that has room left is better filled further: the publisher has enough before it. `freed` is raised when it
    /// has not. A chunk counts in full, however little is in it, and while a commit takes some milliseconds a busy stream
    /// would else hand on all of them with a few rows each.
    package func keepsBack() -> Bool {
        state.withLock { state in
            state.keepsBack = state.ready.count >= Self.enough && !state.closed
            return state.keepsBack
        }
    }

    package enum Popped {
        case chunk(Chunk)
        case empty
        case closed
    }

    /// The next filled chunk, without waiting. A closed queue first gives what it still holds.
    package func pop() -> Popped {
        let (popped, isAwaited): (Popped, Bool) = state.withLock { state in
            guard !state.ready.isEmpty else { return (state.closed ? .closed : .empty, false) }
            return (.chunk(state.ready.removeFirst()), state.keepsBack && state.ready.count < Self.enough)
        }
        if isAwaited { freed.signal() }
        return popped
    }

    /// Whether a chunk of which this is true waits, or one that is kept back and comes at once.
    package func contains(_ isMeant: (Chunk) -> Bool) -> Bool {
        state.withLock { $0.keepsBack || $0.ready.contains(where: isMeant) }
    }

    /// Whether a filled chunk waits.
    package var hasReady: Bool { state.withLock { !$0.ready.isEmpty } }

    /// Bytes out of the pool: being filled, waiting, or held until their commit.
    package var bytesOut: Int { state.withLock { $0.bytesOut } }

    /// Gives an emptied chunk back. `bytes` is what it held on to when it was pushed.
    package func recycle(_ chunk: Chunk, bytes: Int) {
        let keep = size(chunk) <= nominal
        state.withLock { state in
            state.bytesOut -= max(bytes, nominal)
            if keep { state.free.append(chunk) }
        }
        freed.signal()
    }

    /// No more chunks will be pushed or taken; both sides wake.
    package func close() {
        state.withLock { $0.closed = true }
        filled.signal()
        freed.signal()
    }

    package var isClosed: Bool { state.withLock { $0.closed } }
}
