import ChangeData
import ObjectStorage

/// The messages of streamed transactions, each on local disk until the transaction is committed or rolled back.
///
/// A file without a name for each transaction: all of them vanish with the session, and with a killed process. It is a row of
/// frames, each `uint64 length | lz4 frame` (a whole one, with its checksum) of up to 256 KiB of records, which are cut anywhere:
///
///     uint32 part | uint32 length | uint64 place | bytes of the message
///
/// Numbers are little-endian. What is not packed yet is of the block that is open, so that memory does not grow with the number
/// of transactions.
struct TransactionSpill: ~Copyable {
    static let frameBytes = 256 << 10
    static let recordHead = 16

    private let directory: String
    /// The most bytes of all files together.
    private let limit: Int
    private var files: [UInt32: SpoolBox] = [:]
    private var compressor: Compressor
    private var current: UInt32?
    private var pending = ByteBuffer(capacity: TransactionSpill.frameBytes)
    private var packed = ByteBuffer(capacity: TransactionSpill.frameBytes)
    /// Bytes on disk.
    private(set) var bytes = 0

    /// - Throws: where no file can be made in the directory, so that this shows before any row has come.
    init(in directory: String, limit: Int) throws(SpillFailure) {
        let compressor = try Self.compressor()
        do throws(StorageError) { _ = try SpoolBox(in: directory) } catch { throw .disk(error) }
        self.init(in: directory, limit: limit, compressor: compressor)
    }

    private init(in directory: String, limit: Int, compressor: consuming Compressor) {
        self.directory = directory
        self.limit = limit
        self.compressor = compressor
    }

    private static func compressor() throws(SpillFailure) -> Compressor {
        do throws(StorageError) { return try Compressor(.lz4) } catch { throw .disk(error) }
    }

    /// A block of the transaction begins.
    mutating func open(_ transaction: UInt32) throws(SpillFailure) {
        current = transaction
        guard files[transaction] == nil else { return }
        do throws(StorageError) { files[transaction] = try SpoolBox(in: directory) } catch { throw .disk(error) }
    }

    /// Appends a message of the open block, without the number of its part, which are its bytes 1 to 4.
    /// - Parameter place: of a Relation its number in the order of arrival, of all others their LSN.
    mutating func append(_ message: Span<UInt8>, part: UInt32, place: UInt64) throws(SpillFailure) {
        // A message is shorter than two gigabytes.
        pending.append(littleEndian: UInt64(part) | UInt64(truncatingIfNeeded: message.count - 4) << 32)
        pending.append(littleEndian: place)
        pending.append(message[0])
        var rest = message.extracting(droppingFirst: 5)
        while pending.count + rest.count > Self.frameBytes {
            let room = max(0, Self.frameBytes - pending.count)
            pending.append(rest.extracting(first: room))
            rest = rest.extracting(droppingFirst: room)
            try pack()
        }
        pending.append(rest)
    }

    /// The block is over.
    mutating func close() throws(SpillFailure) {
        try pack()
        current = nil
    }

    /// The transaction was rolled back, or is published.
    mutating func drop(_ transaction: UInt32) {
        if let box = files.removeValue(forKey: transaction) { bytes -= box.file.length }
    }

    /// What was kept of the transaction, from its first message on; it counts as before until `drop`.
    borrowing func reader(of transaction: UInt32) throws(SpillFailure) -> SpillReader {
        do throws(StorageError) { return try SpillReader(files[transaction]) } catch { throw .disk(error) }
    }

    /// Writes a frame.
    private mutating func pack() throws(SpillFailure) {
        guard pending.count > 0, let transaction = current, let box = files[transaction] else { return }
        packed.removeAll()
        do throws(StorageError) {
            try pending.withSpan { (records) throws(StorageError) in
                try compressor.update(records) { packed.append($0) }
            }
            try compressor.finish { packed.append($0) }
        } catch { throw .disk(error) }
        pending.removeAll(keepingCapacityUpTo: Self.frameBytes + Self.recordHead)
        guard bytes + packed.count + 8 <= limit else { throw .full(transaction, limit: limit) }
        // `pending` is empty: the length goes through it.
        pending.append(littleEndian: UInt64(packed.count))
        do throws(StorageError) {
            try pending.withSpan { (length) throws(StorageError) in try box.file.append(length) }
            try packed.withSpan { (frame) throws(StorageError) in try box.file.append(frame) }
        } catch { throw .disk(error) }
        bytes += packed.count + 8
        pending.removeAll()
    }
}

/// Why messages cannot be kept.
enum SpillFailure: Error {
    /// There would be more bytes than are allowed.
    case full(UInt32, limit: Int)
    /// The disk does not take them, or does not give them back.
    case disk(StorageError)
}
