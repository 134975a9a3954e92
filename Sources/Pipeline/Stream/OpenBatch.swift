import ChangeData

/// The records of the open Kafka transaction, kept until its commit has returned, so that they can be sent again (design,
/// section 3). Past a bound they are let go: such a transaction is read again from PostgreSQL if it fails.
struct OpenBatch: ~Copyable {
    /// Records `from..<to` of a chunk are in the open transaction; records from `to` on are not yet.
    private struct Piece {
        var chunk: RecordChunk
        var bytes: Int
        var from: Int
        var to: Int
    }

    private let queue: ChunkQueue<RecordChunk>
    private var pieces: [Piece] = []
    private let retainLimit: Int
    private var retainedBytes = 0

    /// What the policies look at.
    var batch = BatchPolicy.Batch()
    /// Whether every record of the open transaction is still in memory.
    private(set) var isRetained = true
    /// Whether the last record ends a PostgreSQL transaction.
    private(set) var isAtBoundary = true

    /// - Parameter retainLimit: bytes of chunks that are kept; a chunk counts with all its room, however little of it is filled.
    init(queue: ChunkQueue<RecordChunk>, retainLimit: Int) {
        self.queue = queue
        self.retainLimit = retainLimit
    }

    deinit { for piece in pieces { queue.recycle(emptied(piece.chunk), bytes: piece.bytes) } }

    /// Whether nothing was produced since the last commit, not even an empty transaction.
    var isEmpty: Bool { batch.transactions == 0 && batch.rows == 0 }

    /// Whether the next records must be copied by the producer, since their chunk will not be kept.
    var mustCopy: Bool { !isRetained && !mustDrain }

    /// Whether the newest chunk may be let go only after the producer has sent its records: it is past the bound by itself,
    /// which one large row does, and a copy would cost as much again.
    var mustDrain: Bool { !isRetained && (pieces.last?.bytes ?? 0) > retainLimit }

    mutating func open(_ chunk: RecordChunk) {
        let bytes = chunk.capacity
        pieces.append(Piece(chunk: chunk, bytes: bytes, from: 0, to: 0))
        retainedBytes += bytes
        // Decided before the chunk's first record: one chunk is either kept whole or copied whole.
        if retainedBytes > retainLimit { isRetained = false }
        // The rest is for the PostgreSQL transaction that is begun last.
        batch.isFull = retainedBytes > retainLimit / 8 * 7
    }

    /// Records of the newest chunk were produced.
    mutating func produced(_ records: Range<Int>, bytes: Int, now: Int64) {
        guard !records.isEmpty else { return }
        if batch.rows == 0 { batch.openedAt = now }
        batch.rows += records.count
        batch.bytes += bytes
        batch.openRows += records.count
        batch.openBytes += bytes
        pieces[pieces.count - 1].to = records.upperBound
        isAtBoundary = false
    }

    /// Lets go of the records of a transaction that has not ended; false where nothing whole is before them, or not all of it is in
    /// memory.
    mutating func cutBack() -> Bool {
        guard isRetained, batch.transactions > 0 else { return false }
        batch.rows -= batch.openRows
        batch.bytes -= batch.openBytes
        (batch.openRows, batch.openBytes) = (0, 0)
        var left = batch.rows
        for index in pieces.indices {
            let kept = min(left, pieces[index].to - pieces[index].from)
            pieces[index].to = pieces[index].from + kept
            left -= kept
        }
        isAtBoundary = true
        return true
    }

    /// Its Kafka transaction was begun again: the age by which it is split counts from here.
    mutating func isBegunAgain(now: Int64) { batch.openedAt = now }

    /// A PostgreSQL transaction ends with the last record.
    mutating func reachedBoundary() {
        batch.transactions += 1
        (batch.openRows, batch.openBytes) = (0, 0)
        isAtBoundary = true
    }

    /// The newest chunk holds nothing more: it is let go unless the open transaction needs it.
    mutating func close() {
        guard let last = pieces.last, !isRetained || last.from == last.to else { return }
        pieces.removeLast()
        release(last)
        if batch.rows == 0 { isRetained = retainedBytes <= retainLimit }
    }

    /// The open transaction is committed: lets go of its chunks.
    /// - Parameters:
    ///   - isPublishing: the newest chunk is still being worked on; `close` lets go of it.
    ///   - nanoseconds: how long the commit took.
    mutating func committed(isPublishing: Bool, after nanoseconds: Int64) {
        let newest = isPublishing ? pieces.popLast() : nil
        for piece in pieces { release(piece) }
        pieces.removeAll(keepingCapacity: true)
        let before = batch.bytes
        batch = BatchPolicy.Batch()
        batch.bytesBefore = before
        batch.commitTook = nanoseconds
        // The newest chunk may be past the bound by itself: kept, it would leave no room for the end of its transaction.
        isRetained = retainedBytes <= retainLimit
        isAtBoundary = true
        if var newest {
            newest.from = newest.to
            pieces.append(newest)
        }
    }

    /// Every record of the open transaction.
    var records: [(chunk: RecordChunk, range: Range<Int>)] { pieces.map { ($0.chunk, $0.from..<$0.to) } }

    private mutating func release(_ piece: Piece) {
        retainedBytes -= piece.bytes
        queue.recycle(emptied(piece.chunk), bytes: piece.bytes)
    }

    private func emptied(_ chunk: RecordChunk) -> RecordChunk {
        chunk.removeAll()
        return chunk
    }
}
