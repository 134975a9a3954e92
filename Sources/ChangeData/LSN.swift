/// A place in PostgreSQL's write-ahead log: the number of bytes before it.
public struct LSN: Comparable, Hashable, Sendable, CustomStringConvertible {
    /// The place as a number, as Debezium's `lsn` fields have it.
    public var rawValue: UInt64

    /// A place by its number.
    public init(_ rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// A place by PostgreSQL's text, `16/B374D848`; nil for any other text.
    public init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, let high = LSN.half(halves[0]), let low = LSN.half(halves[1]) else { return nil }
        self.init(UInt64(high) << 32 | UInt64(low))
    }

    private static func half(_ text: some StringProtocol) -> UInt32? {
        guard (1...8).contains(text.utf8.count), text.utf8.allSatisfy({ $0 != UInt8(ascii: "+") }) else { return nil }
        return UInt32(text, radix: 16)
    }

    /// PostgreSQL's text: two hexadecimal numbers in upper case.
    public var description: String {
        let high = String(rawValue >> 32, radix: 16, uppercase: true)
        let low = String(rawValue & 0xFFFF_FFFF, radix: 16, uppercase: true)
        return "\(high)/\(low)"
    }

    /// Orders by the place in the log.
    public static func < (left: LSN, right: LSN) -> Bool {
        left.rawValue < right.rawValue
    }
}
