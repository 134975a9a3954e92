import ChangeData
import Glibc
import Kafka
import ObjectStorage

/// A file that several owners may name.
final class SpoolBox {
    var file: SpoolFile

    init(in directory: String) throws(StorageError) { file = try SpoolFile(in: directory) }
}

/// One object in the making: a range of offsets of one partition, of one hour.
///
/// Its lines gather in a small buffer; what does not fit goes through a compressor of the pool into a file without a name. Where
/// no compressor is free the file holds the lines as they are, and the uploader packs them: so hundreds of open objects
/// need a compressor no more than a few of them do, and a small object needs no file at all.
///
/// `@unchecked Sendable`: the consumer's thread alone writes it, until `seal`; then it is handed to an uploader through a queue,
/// whose lock orders the two, and the consumer reads only what `seal` has fixed.
final class Segment: @unchecked Sendable {
    /// What is hashed and packed at a time.
    static let blockBytes = 64 << 10
    /// Of a buffer, a hash and strings.
    private static let overhead = 4 << 10
    /// A line of so many bytes goes to disk from where it is.
    static let largeLine = 1 << 20

    /// What is known of the range so far.
    struct Facts {
        var end: Int64
        var lastPosition: RecordPosition
        var records = 0
        var tombstones = 0
        var dropped = 0
        /// Commit time of the oldest record.
        var oldest: Int64
        /// Bytes of lines.
        var bytes = 0
    }

    let partition: TopicPartition
    let hour: SourceHour
    let key: String
    let start: Int64
    let firstPosition: RecordPosition
    /// Monotonic nanoseconds of its first record.
    let openedAt: Int64
    /// The deduplicator before its first record.
    let before: Deduplicator
    let gap: ClosedRange<Int64>?
    private let compression: Compression
    private(set) var facts: Facts

    private var pending: ByteBuffer
    private var hasher: SHA256Hasher
    private var packer: Packer?
    private(set) var spool: SpoolBox?
    /// Set by `seal`, with what the object takes then: from there on the rest is the uploader's.
    private(set) var object: StoredObject?
    private var wasPacked = false
    private var sealedMemory = 0
    private var sealedSpool = 0
    /// The uploader's: what it has packed itself.
    private var packedFile: SpoolBox?
    private var packedBytes: [UInt8]?

    init(
        partition: TopicPartition, first offset: Int64, at position: RecordPosition, before: Deduplicator,
        gap: ClosedRange<Int64>?, compression: Compression, now: Int64
    ) throws(StorageError) {
        self.partition = partition
        hour = SourceHour(ofMicroseconds: position.commitTime)
        key = ObjectName(topic: partition.topic, partition: partition.partition, start: offset)
            .key(hour: hour, compression)
        start = offset
        firstPosition = position
        openedAt = now
        self.before = before
        self.gap = gap
        self.compression = compression
        facts = Facts(end: offset, lastPosition: position, oldest: position.commitTime)
        pending = ByteBuffer(capacity: 4 << 10)
        hasher = try SHA256Hasher()
    }

    // MARK: Records

    /// What a record is to the object.
    enum Kind { case line, tombstone, dropped }

    /// Counts a record into the range.
    @inline(__always)
    func cover(_ offset: Int64, at position: RecordPosition, as kind: Kind, bytes: Int) {
        var next = facts
        next.end = offset
        next.lastPosition = position
        if position.commitTime < next.oldest { next.oldest = position.commitTime }
        switch kind {
        case .line:
            next.records += 1
            next.bytes += bytes
        case .tombstone: next.tombstones += 1
        case .dropped: next.dropped += 1
        }
        facts = next
    }

    /// Bytes that wait in memory.
    var memoryBytes: Int { object == nil ? pending.count : sealedMemory }
    /// Bytes on disk; of a complete object that is packed later, what that may take too.
    var spoolBytes: Int { object == nil ? spool?.file.length ?? 0 : sealedSpool }
    /// Whether the next line makes the buffer more than full.
    func isFull(adding count: Int) -> Bool { pending.count + count + 1 > block }

    private var block: Int { spool == nil || packer != nil ? Self.blockBytes : Self.blockBytes / 4 }

    /// Adds a line to what is in memory.
    @inline(__always)
    func append(_ line: Span<UInt8>) {
        pending.append(line)
        pending.append(UInt8(ascii: "\n"))
    }

    /// Moves what is in memory to disk.
    /// - Throws: an error of the operation `spool` where the disk is full; the object is then of no use.
    func flush(_ pool: PackerPool, in directory: String) throws(StorageError) {
        guard pending.count > 0 else { return }
        try openSpool(pool, in: directory)
        try pending.withSpan { (bytes) throws(StorageError) in try write(bytes) }
        // Of the many without a compressor each holds on to little.
        pending.removeAll(keepingCapacityUpTo: block)
    }

    /// Adds a large line, which then is not held a second time in memory.
    /// - Throws: as `flush`.
    func appendLarge(_ line: Span<UInt8>, _ pool: PackerPool, in directory: String) throws(StorageError) {
        try flush(pool, in: directory)
        try openSpool(pool, in: directory)
        try write(line)
        pending.append(UInt8(ascii: "\n"))
    }

    private func openSpool(_ pool: PackerPool, in directory: String) throws(StorageError) {
        guard spool == nil else { return }
        spool = try SpoolBox(in: directory)
        packer = pool.take()
    }

    private func write(_ bytes: borrowing Span<UInt8>) throws(StorageError) {
        hasher.update(bytes)
        guard let spool else { return }
        guard let packer else { return try spool.file.append(bytes) }
        try packer.compressor.update(bytes) { (packed) throws(StorageError) in try spool.file.append(packed) }
    }

    /// Bytes that the object would have if it ended now; what a compressor still holds is not counted.
    func stored(_ ratio: PackingRatio) -> Int {
        if packer != nil { return spoolBytes + ratio.stored(of: pending.count) }
        return compression == .none ? facts.bytes : ratio.stored(of: facts.bytes)
    }

    /// Ends the object.
    /// - Parameter after: the deduplicator after its last record.
    func seal(after: Deduplicator, _ pool: PackerPool) throws(StorageError) {
        if spool == nil {
            pending.withSpan { hasher.update($0) }
        } else {
            try pending.withSpan { (bytes) throws(StorageError) in try write(bytes) }
            pending.removeAll(keepingCapacityUpTo: 0)
            if let packer, let spool {
                try packer.compressor.finish { (packed) throws(StorageError) in try spool.file.append(packed) }
            }
        }
        wasPacked = packer != nil
        giveBack(pool)
        // With what an object without a row would take: many small ones may wait.
        sealedMemory = pending.count + Self.overhead
        sealedSpool = (spool?.file.length ?? 0) * (wasPacked || compression == .none ? 1 : 2)
        object = StoredObject(
            start: start, end: facts.end, records: facts.records, tombstones: facts.tombstones,
            dropped: facts.dropped, firstPosition: firstPosition, lastPosition: facts.lastPosition, mark: after.mark,
            watermark: after.watermark, sha256: try hasher.finish().hex,
            gap: gap.map { "\($0.lowerBound)-\($0.upperBound)" })
    }

    /// The compressor is free again. Also for an object that is given up.
    func giveBack(_ pool: PackerPool) {
        if let packer { pool.give(packer) }
        packer = nil
    }

    // MARK: The uploader's

    /// What is put; the same bytes however often it is asked for.
    /// - Throws: an error of the operation `spool` where the disk is full.
    func body(_ packer: Packer?, spoolDirectory: String) throws(StorageError) -> ObjectBody {
        if let packedFile { return packedFile.file.body }
        if let packedBytes { return .bytes(packedBytes) }
        if let spool {
            if wasPacked || compression == .none { return spool.file.body }
            return try repack(spool, packer, in: spoolDirectory)
        }
        var bytes: [UInt8] = []
        if compression == .none {
            pending.withSpan { gather($0, into: &bytes) }
        } else if let packer {
            packer.compressor.reset()
            try pending.withSpan { (lines) throws(StorageError) in
                try packer.compressor.update(lines) { gather($0, into: &bytes) }
            }
            try packer.compressor.finish { gather($0, into: &bytes) }
        }
        packedBytes = bytes
        pending.removeAll(keepingCapacityUpTo: 0)
        return .bytes(bytes)
    }

    /// Packs lines that went to disk as they were.
    private func repack(
        _ raw: SpoolBox, _ packer: Packer?, in directory: String
    ) throws(StorageError) -> ObjectBody {
        let packed = try SpoolBox(in: directory)
        guard let packer, case .file(let descriptor, let length) = raw.file.body else { return raw.file.body }
        packer.compressor.reset()
        var piece = [UInt8](repeating: 0, count: 256 << 10)
        var offset = 0
        while offset < length {
            // SAFETY: the buffer outlives the call and has the length that is given; the descriptor is the spool's.
            let count = unsafe piece.withUnsafeMutableBytes { buffer in
                unsafe pread(descriptor, buffer.baseAddress, min(buffer.count, length - offset), off_t(offset))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw StorageError(.fatal, "compress", "the spool file cannot be read back (errno \(errno))")
            }
            try packer.compressor.update(piece.span.extracting(0..<count)) { (bytes) throws(StorageError) in
                try packed.file.append(bytes)
            }
            offset += count
        }
        try packer.compressor.finish { (bytes) throws(StorageError) in try packed.file.append(bytes) }
        packedFile = packed
        // One file again: many objects may have been put before their results are looked at.
        spool = nil
        return packed.file.body
    }
}

private func gather(_ span: Span<UInt8>, into bytes: inout [UInt8]) {
    // SAFETY: the pointer is used within the call alone.
    unsafe span.withUnsafeBufferPointer { unsafe bytes.append(contentsOf: $0) }
}
