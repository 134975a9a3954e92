/// A position in the write-ahead log of one PostgreSQL cluster: a byte offset, written as two hexadecimal halves.
public struct LSN: Comparable, Hashable, Sendable, CustomStringConvertible {
    /// The byte offset.
    public var rawValue: UInt64

    /// The position at a byte offset.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// Reads `16/B374D848`; nil where the text is no LSN.
    public init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, halves.allSatisfy({ (1...8).contains($0.utf8.count) && $0.first?.isHexDigit == true }),
            let high = UInt32(halves[0], radix: 16), let low = UInt32(halves[1], radix: 16)
        else { return nil }
        rawValue = UInt64(high) << 32 | UInt64(low)
    }

    /// As PostgreSQL prints it: `16/B374D848`.
    public var description: String {
        String(rawValue >> 32, radix: 16, uppercase: true) + "/"
            + String(rawValue & 0xFFFF_FFFF, radix: 16, uppercase: true)
    }

    /// Earlier in the log.
    public static func < (left: LSN, right: LSN) -> Bool { left.rawValue < right.rawValue }
}
