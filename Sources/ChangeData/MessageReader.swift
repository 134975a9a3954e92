/// Reads the fields of one message from front to back. Every read checks the length first: no input traps.
struct MessageReader: ~Escapable {
    let bytes: Span<UInt8>
    private(set) var offset = 0

    @_lifetime(copy bytes)
    init(_ bytes: Span<UInt8>) {
        self.bytes = bytes
    }

    func fault(_ reason: Malformation.Reason) -> Malformation {
        Malformation(message: bytes.isEmpty ? 0 : bytes[0], offset: offset, reason: reason)
    }

    @inline(__always)
    mutating func uint8() throws(Malformation) -> UInt8 {
        guard offset < bytes.count else { throw fault(.tooShort) }
        let value = bytes[offset]
        offset &+= 1
        return value
    }

    @inline(__always)
    mutating func uint16() throws(Malformation) -> UInt16 {
        guard bytes.count &- offset >= 2 else { throw fault(.tooShort) }
        let value = UInt16(bytes[offset]) << 8 | UInt16(bytes[offset &+ 1])
        offset &+= 2
        return value
    }

    @inline(__always)
    mutating func uint32() throws(Malformation) -> UInt32 {
        guard bytes.count &- offset >= 4 else { throw fault(.tooShort) }
        let value =
            UInt32(bytes[offset]) << 24 | UInt32(bytes[offset &+ 1]) << 16
            | UInt32(bytes[offset &+ 2]) << 8 | UInt32(bytes[offset &+ 3])
        offset &+= 4
        return value
    }

    mutating func uint64() throws(Malformation) -> UInt64 {
        let high = try uint32()
        let low = try uint32()
        return UInt64(high) << 32 | UInt64(low)
    }

    mutating func lsn() throws(Malformation) -> LSN {
        LSN(try uint64())
    }

    /// A time: microseconds since 2000 on the wire, since 1970 here.
    mutating func time() throws(Malformation) -> Int64 {
        let (time, overflow) = Int64(bitPattern: try uint64()).addingReportingOverflow(946_684_800_000_000)
        // With a replication origin a client may set any commit time, also `infinity`. Those outside the years 1 to 9999 have no
        // hour that a path could name.
        return min(max(overflow ? .max : time, CommitTime.range.lowerBound), CommitTime.range.upperBound)
    }

    /// A text that ends with a zero byte, as the range of its bytes.
    mutating func textRange() throws(Malformation) -> Range<Int> {
        let start = offset
        while offset < bytes.count {
            if bytes[offset] == 0 {
                offset &+= 1
                return start..<offset &- 1
            }
            offset &+= 1
        }
        throw fault(.tooShort)
    }

    mutating func text() throws(Malformation) -> String {
        let range = try textRange()
        let text = bytes.extracting(range)
        let string = String(utf8: text)
        guard let string else { throw fault(.invalidText) }
        return string
    }

    /// The next bytes, as a range of the message.
    @inline(__always)
    mutating func skip(_ length: Int) throws(Malformation) -> Range<Int> {
        guard length >= 0 else { throw fault(.invalidLength) }
        guard bytes.count &- offset >= length else { throw fault(.tooShort) }
        let start = offset
        offset &+= length
        return start..<offset
    }

    /// All bytes must have been read.
    func end() throws(Malformation) {
        guard offset == bytes.count else { throw fault(.trailingBytes) }
    }
}

extension String {
    /// A string of valid UTF-8; nil for any other bytes.
    init?(utf8 bytes: Span<UInt8>) {
        var array: [UInt8] = []
        array.reserveCapacity(bytes.count)
        for index in bytes.indices { array.append(bytes[index]) }
        self.init(validating: array, as: UTF8.self)
    }
}
