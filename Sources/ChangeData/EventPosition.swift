/// The place of one change in the stream: positions of one epoch compare, and grow in the order of the stream.
///
/// The ordinal is the number of the change in its transaction, from 1: row changes, truncates (one a relation) and
/// transactional messages are counted before any filter of ours, so that a restart counts alike. A message outside
/// any transaction has ordinal 0. All records of one change (the delete, tombstone and create of a changed key) share
/// its position; records that follow each other have positions that never go back.
public struct EventPosition: Comparable, Hashable, Sendable {
    /// Grows when a gap is accepted or the system changes; positions compare only within one.
    public var epoch: UInt32
    /// Where the commit record of the transaction begins; of a message outside any transaction, where its record ends.
    public var commitLSN: LSN
    /// The number of the change in its transaction, from 1; 0 stands before the first.
    public var ordinal: UInt64

    /// A position from its parts.
    public init(epoch: UInt32, commitLSN: LSN, ordinal: UInt64) {
        self.epoch = epoch
        self.commitLSN = commitLSN
        self.ordinal = ordinal
    }

    /// Whether replication that restarts at `lsn` has it behind, as the server and we see it: a transaction whose commit record
    /// begins before, or a message outside any whose record ends there at the latest.
    public func isBehind(_ lsn: LSN) -> Bool { ordinal == 0 ? commitLSN <= lsn : commitLSN < lsn }

    /// Orders by epoch, commit LSN and ordinal.
    public static func < (left: EventPosition, right: EventPosition) -> Bool {
        (left.epoch, left.commitLSN, left.ordinal) < (right.epoch, right.commitLSN, right.ordinal)
    }
}

/// One of the epochs that a stream has had.
public struct Epoch: Equatable, Sendable {
    /// Replication began here in it.
    public var begin: LSN
    /// Its number.
    public var number: UInt32

    /// An epoch from its parts.
    public init(begin: LSN, number: UInt32) {
        self.begin = begin
        self.number = number
    }
}

/// When a transaction was committed, in microseconds since 1970.
enum CommitTime {
    /// The years 1 to 9999: those that a path can name.
    static let range: ClosedRange<Int64> = -62_135_596_800_000_000...253_402_300_799_999_999
}

/// What the header `sluice.pos` of a record says: `<epoch>/<commit LSN>/<ordinal>/<microseconds since 1970>`,
/// for example `1/0/98AC920/3/1795633610160929`.
public struct RecordPosition: Equatable, Sendable {
    /// The place in the stream.
    public var position: EventPosition
    /// The commit time of the transaction, in microseconds since 1970.
    public var commitTime: Int64

    /// A record position from its parts; the time in microseconds since 1970.
    public init(position: EventPosition, commitTime: Int64) {
        self.position = position
        self.commitTime = commitTime
    }

    /// Reads the header's bytes; nil when they are not exactly of its form, or the time is not of the years 1 to 9999. Allocates nothing.
    public init?(parsing bytes: Span<UInt8>) {
        var offset = 0
        guard let epoch = parseNumber(bytes, &offset, radix: 10, end: UInt8(ascii: "/")), epoch <= UInt32.max,
            let high = parseNumber(bytes, &offset, radix: 16, end: UInt8(ascii: "/")), high <= UInt32.max,
            let low = parseNumber(bytes, &offset, radix: 16, end: UInt8(ascii: "/")), low <= UInt32.max,
            let ordinal = parseNumber(bytes, &offset, radix: 10, end: UInt8(ascii: "/"))
        else { return nil }
        let isNegative = offset < bytes.count && bytes[offset] == UInt8(ascii: "-")
        if isNegative { offset += 1 }
        guard let time = parseNumber(bytes, &offset, radix: 10, end: nil), time <= UInt64(Int64.max) else { return nil }
        position = EventPosition(epoch: UInt32(epoch), commitLSN: LSN(high << 32 | low), ordinal: ordinal)
        commitTime = isNegative ? -Int64(time) : Int64(time)
        // Anybody may write such a header, and whoever reads one calculates with the time.
        guard CommitTime.range.contains(commitTime) else { return nil }
    }

    /// Appends the header's bytes.
    public func write(into buffer: inout ByteBuffer) {
        buffer.append(decimal: position.epoch)
        buffer.append(UInt8(ascii: "/"))
        buffer.append(lsn: position.commitLSN)
        buffer.append(UInt8(ascii: "/"))
        buffer.append(decimal: position.ordinal)
        buffer.append(UInt8(ascii: "/"))
        buffer.append(decimal: commitTime)
    }
}

/// Reads digits up to `end` (which is passed) or, where `end` is nil, to the end of the bytes.
private func parseNumber(_ bytes: Span<UInt8>, _ offset: inout Int, radix: UInt64, end: UInt8?) -> UInt64? {
    var value: UInt64 = 0
    let start = offset
    while offset < bytes.count {
        let byte = bytes[offset]
        if byte == end {
            guard offset > start else { return nil }
            offset += 1
            return value
        }
        let digit: UInt64
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = UInt64(byte &- UInt8(ascii: "0"))
        case UInt8(ascii: "A")...UInt8(ascii: "F") where radix == 16: digit = UInt64(byte &- UInt8(ascii: "A") &+ 10)
        default: return nil
        }
        let (product, overflow) = value.multipliedReportingOverflow(by: radix)
        let (sum, carry) = product.addingReportingOverflow(digit)
        guard !overflow, !carry else { return nil }
        value = sum
        offset += 1
    }
    return end == nil && offset > start ? value : nil
}
