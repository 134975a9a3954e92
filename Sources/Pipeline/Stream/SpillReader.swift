import ChangeData
import ObjectStorage

/// Reads back what `TransactionSpill` has kept of one transaction, record by record.
struct SpillReader: ~Copyable {
    private let box: SpoolBox?
    private var offset = 0
    private var decompressor: Decompressor
    private var frame: [UInt8] = []
    /// Unpacked bytes; the records before `next` were read.
    private var plain = ByteBuffer(capacity: 2 * TransactionSpill.frameBytes)
    private var next = 0
    private var start = 0

    /// The (sub)transaction that the current message is of.
    private(set) var part: UInt32 = 0
    /// Its LSN, or the number of a Relation.
    private(set) var place: UInt64 = 0

    /// - Parameter box: nil for a transaction of which nothing was kept.
    init(_ box: SpoolBox?) throws(StorageError) {
        self.box = box
        decompressor = try Decompressor(.lz4)
    }

    /// The current message.
    var message: Span<UInt8> {
        @_lifetime(borrow self)
        get { plain.span.extracting(start..<next) }
    }

    /// Goes on to the next message; false behind the last.
    mutating func advance() throws(StorageError) -> Bool {
        guard try fill(TransactionSpill.recordHead) else {
            guard plain.count == next else { throw .tornSpill }
            return false
        }
        let head = number(at: next)
        part = UInt32(truncatingIfNeeded: head)
        place = number(at: next + 8)
        let length = Int(head >> 32)
        guard try fill(TransactionSpill.recordHead + length) else { throw .tornSpill }
        start = next + TransactionSpill.recordHead
        next = start + length
        return true
    }

    /// Unpacks frames until so many bytes are there from `next` on; false where the file ends before.
    private mutating func fill(_ count: Int) throws(StorageError) -> Bool {
        while plain.count - next < count {
            guard let box, offset < box.file.length else { return false }
            plain.removeFirst(next, keepingCapacityUpTo: 2 * TransactionSpill.frameBytes)
            next = 0
            // At once for a large message, not by doubling.
            plain.reserve(max(count - plain.count, 0) + TransactionSpill.frameBytes)
            try unpack(box)
        }
        return true
    }

    private mutating func unpack(_ box: SpoolBox) throws(StorageError) {
        try box.file.read(into: &frame, length: 8, at: offset)
        let length = (0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(frame[$1]) }
        guard length <= UInt64(box.file.length - offset - 8) else { throw .tornSpill }
        try box.file.read(into: &frame, length: Int(length), at: offset + 8)
        offset += 8 + Int(length)
        decompressor.reset()
        // Out of `self` while the decompressor of it works.
        let packed = frame
        var records = ByteBuffer(capacity: 16)
        swap(&records, &plain)
        defer { swap(&records, &plain) }
        try decompressor.update(packed.span.extracting(first: Int(length))) { records.append($0) }
        try decompressor.finish()
    }

    private func number(at place: Int) -> UInt64 {
        let bytes = plain.span
        var number: UInt64 = 0
        for index in stride(from: place + 7, through: place, by: -1) { number = number << 8 | UInt64(bytes[index]) }
        return number
    }
}

extension StorageError {
    fileprivate static var tornSpill: StorageError {
        StorageError(.fatal, "spool", "what was kept of a transaction cannot be read back")
    }
}
