/// What a record is.
public enum Operation: UInt8, Sendable, CaseIterable {
    /// A new row.
    case create
    /// A changed row.
    case update
    /// A removed row.
    case delete
    /// A table that was emptied.
    case truncate
    /// A logical message.
    case message
    /// The record without value after a delete.
    case tombstone
    /// A change that cannot be written as an event, as the server sent it.
    case deadLetter
}

/// A transaction of PostgreSQL, as its commit says.
public struct Transaction: Equatable, Sendable {
    /// The transaction's number; 0 for a message outside any transaction.
    public var xid: UInt32
    /// Where the commit record begins; of a message outside any transaction, where its record ends.
    public var commitLSN: LSN
    /// One past its last record: where replication restarts once the transaction is safe.
    public var endLSN: LSN
    /// The commit time, in microseconds since 1970.
    public var commitTime: Int64
    /// The number of changes, before any filter.
    public var changes: UInt64

    /// The source's clock, of which all was committed before this, in microseconds since 1970; 0 where the commit time does not
    /// tell it. See `clock(of:hasOrigin:now:)`.
    public var clock: Int64

    /// A transaction from its parts; the times in microseconds since 1970.
    public init(xid: UInt32, commitLSN: LSN, endLSN: LSN, commitTime: Int64, changes: UInt64, clock: Int64 = 0) {
        self.xid = xid
        self.commitLSN = commitLSN
        self.endLSN = endLSN
        self.commitTime = commitTime
        self.changes = changes
        self.clock = clock
    }

    /// What a commit time tells of the source's clock, 0 where nothing: hours are sealed by it, so it must never be ahead of what
    /// has come. With a replication origin a client sets the time to anything, and a server's clock may be wrong for a while.
    /// - Parameter now: our clock, microseconds since 1970; that of a server may be a little ahead of it.
    static func clock(of commitTime: Int64, hasOrigin: Bool, now: Int64) -> Int64 {
        hasOrigin || commitTime > now &+ 60_000_000 ? 0 : min(commitTime, now)
    }
}

/// Records, encoded, in the order of the stream, with the ends of the transactions that they are of.
///
/// Filled by `ChangeEncoder.consume`; then handed to whoever produces the records, who may point into its bytes until
/// the chunk is emptied: nothing moves them unless something is appended.
///
/// Not copyable state behind a reference, without a lock. Sound as `Sendable` because a chunk has one owner at a time:
/// the thread that fills it hands it over through a queue (which orders the memory) and does not touch it again until
/// it comes back the same way.
public final class RecordChunk: @unchecked Sendable {
    /// The end of a whole transaction in the chunk.
    public struct Boundary: Equatable, Sendable {
        /// The number of records of the chunk up to and with the transaction's last.
        public var recordCount: Int
        /// The transaction that ends there.
        public var transaction: Transaction

        /// A boundary from its parts.
        public init(recordCount: Int, transaction: Transaction) {
            self.recordCount = recordCount
            self.transaction = transaction
        }
    }

    /// One record: where its parts lie in the chunk's bytes, and what it is. The parts lie one after the other:
    /// key, value, position header, link header.
    public struct Record: Sendable {
        var start: Int
        var keyLength: Int32
        var valueLength: Int32
        var linkLength: Int32
        var topicIndex: Int32
        var tableIndex: Int32
        var positionLength: UInt8
        var linkIsNewKey: Bool
        /// What the record is.
        public internal(set) var operation: Operation

        /// The index into the encoder's `topics`.
        public var topic: Int { Int(topicIndex) }
        /// The index into the encoder's `tables`; nil for logical messages.
        public var table: Int? { tableIndex < 0 ? nil : Int(tableIndex) }
        /// The key's bytes; nil for a truncate.
        public var key: Range<Int>? { keyLength < 0 ? nil : start..<start + Int(keyLength) }
        /// The value's bytes; nil for a tombstone.
        public var value: Range<Int>? { valueLength < 0 ? nil : valueStart..<valueStart + Int(valueLength) }
        /// The bytes of the header `sluice.pos`.
        public var position: Range<Int> { positionStart..<positionStart + Int(positionLength) }
        /// The bytes of the header that links the two keys of a changed one; nil for all other records.
        public var link: Range<Int>? {
            let start = positionStart + Int(positionLength)
            return linkLength < 0 ? nil : start..<start + Int(linkLength)
        }
        /// The name of the link header: the old key's records name the new one, the new key's the old one.
        public var linkName: StaticString { linkIsNewKey ? "__debezium.newkey" : "__debezium.oldkey" }
        /// The bytes of its key and its value.
        public var payloadCount: Int { Int(max(keyLength, 0)) + Int(max(valueLength, 0)) }
        /// The bytes of all its parts.
        public var byteCount: Int {
            payloadCount + Int(positionLength) + Int(max(linkLength, 0))
        }
        /// The partition to send to; nil: by the key.
        public var partition: Int32? { keyLength < 0 ? 0 : nil }

        private var valueStart: Int { start + Int(max(keyLength, 0)) }
        private var positionStart: Int { valueStart + Int(max(valueLength, 0)) }
    }

    /// One stored property, so that filling the chunk is one checked access a message.
    var contents: RecordContents

    /// The records in the order of the stream.
    public var records: [Record] { contents.records }

    /// The ends of whole transactions, in order.
    public var boundaries: [Boundary] { contents.boundaries }

    /// The source's clock, of which all was committed before the last boundary, is at least this, microseconds since 1970.
    public func knows(clock: Int64) {
        guard let last = contents.boundaries.indices.last else { return }
        contents.boundaries[last].transaction.clock = max(contents.boundaries[last].transaction.clock, clock)
    }

    /// An empty chunk with room for so many bytes.
    public init(capacity: Int) {
        contents = RecordContents(buffer: ByteBuffer(capacity: capacity))
    }

    /// The number of bytes of all records.
    public var byteCount: Int { contents.buffer.count }

    /// The bytes of memory that the chunk holds on to for them.
    public var capacity: Int { contents.buffer.capacity }

    /// The number of records.
    public var recordCount: Int { contents.records.count }

    /// The number of whole transactions that end in it, with those that have no record.
    public var boundaryCount: Int { contents.boundaries.count }

    /// Gives the bytes that the records' ranges mean.
    public func withBytes<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try contents.buffer.withSpan(body)
    }

    /// Empties the chunk for its next use; keeps the memory unless it has grown over `limit` bytes.
    public func removeAll(keepingCapacityUpTo limit: Int = .max) {
        contents.buffer.removeAll(keepingCapacityUpTo: limit)
        contents.records.removeAll(keepingCapacity: true)
        contents.boundaries.removeAll(keepingCapacity: true)
    }
}

/// What a chunk holds.
struct RecordContents: ~Copyable {
    var buffer: ByteBuffer
    var records: [RecordChunk.Record] = []
    var boundaries: [RecordChunk.Boundary] = []
    /// Enters a record whose parts were appended to the buffer one after the other.
    mutating func append(
        _ operation: Operation, start: Int, keyEnd: Int?, valueEnd: Int?, positionEnd: Int, topic: Int32, table: Int32,
        linkIsNewKey: Bool = false, hasLink: Bool = false
    ) {
        let valueStart = keyEnd ?? start
        let positionStart = valueEnd ?? valueStart
        // Lengths are checked by the caller to be under two gigabytes together; clamped here only so as not to trap
        // before that check takes the record out again.
        records.append(
            RecordChunk.Record(
                start: start, keyLength: keyEnd.map { Int32(clamping: $0 - start) } ?? -1,
                valueLength: valueEnd.map { Int32(clamping: $0 - valueStart) } ?? -1,
                linkLength: hasLink ? Int32(clamping: buffer.count - positionEnd) : -1,
                topicIndex: topic, tableIndex: table, positionLength: UInt8(clamping: positionEnd - positionStart),
                linkIsNewKey: linkIsNewKey, operation: operation))
    }

    /// Takes back what a change has appended.
    mutating func truncate(records count: Int, bytes: Int) {
        records.removeSubrange(count...)
        buffer.truncate(to: bytes)
    }
}
