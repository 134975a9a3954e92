public import ChangeData

/// One message of a replication stream, as the walsender frames it. It owns libpq's buffer and frees it.
///
/// Layout of `CopyData`: `w` start(8) end(8) time(8) payload; `k` walEnd(8) time(8) replyRequested(1). Big-endian.
/// (PostgreSQL, "Streaming Replication Protocol".)
public struct ReplicationFrame: ~Copyable {
    /// What the message says besides its payload.
    public enum Header: Sendable, Equatable {
        /// A message of the output plugin: its LSN (0/0 where the walsender gives none) and the server's clock.
        case walData(start: LSN, serverTime: Int64)
        /// The server's position, its clock, and whether it wants a status at once.
        case keepalive(walEnd: LSN, serverTime: Int64, replyRequested: Bool)
    }

    /// The header. Times are microseconds since 1970-01-01 UTC.
    public let header: Header
    private let buffer: CopyBuffer

    init(_ buffer: consuming CopyBuffer) throws(PostgresError) {
        header = try Header(buffer.bytes)
        self.buffer = buffer
    }

    /// The output plugin's message; empty for a keepalive.
    public var payload: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            switch header {
            case .walData:
                let all = buffer.bytes
                return _overrideLifetime(all.extracting(droppingFirst: 25), borrowing: self)
            case .keepalive: return _overrideLifetime(Span(), borrowing: self)
            }
        }
    }
}

extension ReplicationFrame.Header {
    /// Reads the header of a `CopyData` message.
    package init(_ bytes: Span<UInt8>) throws(PostgresError) {
        switch (bytes.isEmpty ? 0 : bytes[0], bytes.count) {
        case (UInt8(ascii: "w"), 25...):
            self = .walData(
                start: LSN(WireInteger.read(bytes, at: 1)), serverTime: WireTime.unix(WireInteger.read(bytes, at: 17)))
        case (UInt8(ascii: "k"), 18):
            self = .keepalive(
                walEnd: LSN(WireInteger.read(bytes, at: 1)), serverTime: WireTime.unix(WireInteger.read(bytes, at: 9)),
                replyRequested: bytes[17] != 0)
        case (let kind, let count):
            throw PostgresError(.fatal, "the server sent a replication message of kind \(kind) with \(count) bytes")
        }
    }
}

/// A standby status update: `r` written(8) flushed(8) applied(8) time(8) replyRequested(1).
package struct StandbyStatus: Sendable, Equatable {
    /// Received and written.
    package var written: LSN
    /// Durable: the slot's `confirmed_flush_lsn` follows it.
    package var flushed: LSN
    /// Visible.
    package var applied: LSN
    /// The client's clock, microseconds since 1970.
    package var time: Int64
    /// Whether the server is to answer at once.
    package var replyRequested: Bool

    /// The 34 bytes of the message.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "r")]
        bytes.reserveCapacity(34)
        for value in [written.rawValue, flushed.rawValue, applied.rawValue, WireTime.postgres(time)] {
            WireInteger.append(value, to: &bytes)
        }
        bytes.append(replyRequested ? 1 : 0)
        return bytes
    }
}

/// Big-endian 64-bit numbers.
enum WireInteger {
    static func read(_ bytes: Span<UInt8>, at offset: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in offset..<(offset + 8) { value = value << 8 | UInt64(bytes[index]) }
        return value
    }

    static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}

/// PostgreSQL counts microseconds from 2000-01-01, the rest of the world from 1970-01-01.
enum WireTime {
    private static let epoch: Int64 = 946_684_800_000_000

    /// From the wire. Wraps rather than traps: the number comes from outside.
    static func unix(_ wire: UInt64) -> Int64 { Int64(bitPattern: wire) &+ epoch }

    /// To the wire.
    static func postgres(_ unix: Int64) -> UInt64 { UInt64(bitPattern: unix &- epoch) }
}
