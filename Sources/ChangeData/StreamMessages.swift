// The messages of pgoutput, protocol 2, about a transaction that is sent while it goes on. They stand around blocks of the
// messages of protocol 1, in which a number follows the first byte: the (sub)transaction's. (PostgreSQL, "Logical Replication
// Message Formats"; pgoutput.c, proto.c.)

/// `S` | uint32 xid | uint8, 1 in the first block of the transaction
struct StreamStartMessage {
    let xid: UInt32
    let isFirst: Bool

    init(_ reader: inout MessageReader) throws(Malformation) {
        xid = try reader.uint32()
        let first = try reader.uint8()
        guard first <= 1 else { throw reader.fault(.unknownTag) }
        isFirst = first == 1
        try reader.end()
    }
}

/// `E`
struct StreamStopMessage {
    init(_ reader: inout MessageReader) throws(Malformation) { try reader.end() }
}

/// `A` | uint32 xid | uint32 the subtransaction's; the same again where the whole is rolled back
struct StreamAbortMessage {
    let xid: UInt32
    let part: UInt32

    init(_ reader: inout MessageReader) throws(Malformation) {
        xid = try reader.uint32()
        part = try reader.uint32()
        try reader.end()
    }
}

/// The commit of a streamed transaction.
///
/// `c` | uint32 xid | uint8 flags, 0 | uint64 LSN of the commit record | uint64 LSN of its end | int64 commit time
public struct StreamCommit: Equatable, Sendable {
    /// The transaction's number.
    public var xid: UInt32
    /// Where the commit record begins.
    public var commitLSN: LSN
    /// One past the commit record.
    public var endLSN: LSN
    /// The commit time, in microseconds since 1970.
    public var commitTime: Int64

    /// A commit from its parts.
    public init(xid: UInt32, commitLSN: LSN, endLSN: LSN, commitTime: Int64) {
        self.xid = xid
        self.commitLSN = commitLSN
        self.endLSN = endLSN
        self.commitTime = commitTime
    }

    init(_ reader: inout MessageReader) throws(Malformation) {
        xid = try reader.uint32()
        guard try reader.uint8() == 0 else { throw reader.fault(.unknownTag) }
        commitLSN = try reader.lsn()
        endLSN = try reader.lsn()
        commitTime = try reader.time()
        try reader.end()
    }

    /// The Begin that protocol 1 would have sent for the transaction.
    public var begin: [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "B")]
        bytes.append(bigEndian: commitLSN.rawValue)
        bytes.append(bigEndian: wireTime)
        bytes.append(bigEndian: xid)
        return bytes
    }

    /// The Commit that protocol 1 would have sent.
    public var commit: [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "C"), 0]
        bytes.append(bigEndian: commitLSN.rawValue)
        bytes.append(bigEndian: endLSN.rawValue)
        bytes.append(bigEndian: wireTime)
        return bytes
    }

    private var wireTime: UInt64 { UInt64(bitPattern: commitTime &- 946_684_800_000_000) }
}

extension [UInt8] {
    fileprivate mutating func append(bigEndian value: some FixedWidthInteger & UnsignedInteger) {
        for shift in stride(from: value.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }
}
