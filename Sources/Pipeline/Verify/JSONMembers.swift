/// The members of a JSON object as ranges of its bytes: names and values are compared and cut out, never turned into values.
/// Total: bytes that are not one object of valid nesting give nil.
struct JSONMembers {
    struct Member {
        /// Of the name, without its quotes, as it is escaped.
        var name: Range<Int>
        /// Of the value.
        var value: Range<Int>
    }

    let bytes: [UInt8]
    private(set) var members: [Member] = []

    /// The object that stands in `range` of the bytes.
    init?(_ bytes: [UInt8], in range: Range<Int>) {
        self.bytes = bytes
        var scanner = JSONScanner(bytes: bytes, offset: range.lowerBound, end: range.upperBound)
        guard scanner.take(UInt8(ascii: "{")) else { return nil }
        scanner.skipSpace()
        if scanner.take(UInt8(ascii: "}")) {
            guard scanner.offset == range.upperBound else { return nil }
            return
        }
        while true {
            scanner.skipSpace()
            guard let name = scanner.string() else { return nil }
            scanner.skipSpace()
            guard scanner.take(UInt8(ascii: ":")) else { return nil }
            scanner.skipSpace()
            guard let value = scanner.value() else { return nil }
            members.append(Member(name: name.lowerBound + 1..<name.upperBound - 1, value: value))
            scanner.skipSpace()
            if scanner.take(UInt8(ascii: ",")) { continue }
            guard scanner.take(UInt8(ascii: "}")), scanner.offset == range.upperBound else { return nil }
            return
        }
    }

    init?(_ bytes: [UInt8]) { self.init(bytes, in: 0..<bytes.count) }

    /// The value of a member, as a range.
    func value(of name: [UInt8]) -> Range<Int>? {
        members.first { bytes[$0.name].elementsEqual(name) }?.value
    }

    func value(of name: String) -> Range<Int>? { value(of: Array(name.utf8)) }

    /// The bytes of a member's value.
    func text(of name: String) -> ArraySlice<UInt8>? { value(of: name).map { bytes[$0] } }
}

/// Finds the ends of JSON values.
struct JSONScanner {
    let bytes: [UInt8]
    var offset: Int
    let end: Int

    mutating func take(_ byte: UInt8) -> Bool {
        guard offset < end, bytes[offset] == byte else { return false }
        offset += 1
        return true
    }

    mutating func skipSpace() {
        while offset < end, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[offset]) { offset += 1 }
    }

    /// A string with its quotes.
    mutating func string() -> Range<Int>? {
        let start = offset
        guard take(UInt8(ascii: "\"")) else { return nil }
        while offset < end {
            switch bytes[offset] {
            case UInt8(ascii: "\\"): offset += 2
            case UInt8(ascii: "\""):
                offset += 1
                return start..<offset
            default: offset += 1
            }
        }
        return nil
    }

    /// Any value. Brackets are counted, not matched by kind: what is read here was written by us or is refused elsewhere.
    mutating func value() -> Range<Int>? {
        let start = offset
        guard offset < end else { return nil }
        switch bytes[offset] {
        case UInt8(ascii: "\""): return string()
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            var depth = 0
            while offset < end {
                switch bytes[offset] {
                case UInt8(ascii: "\""):
                    guard string() != nil else { return nil }
                    continue
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
                default: break
                }
                offset += 1
                if depth == 0 { return start..<offset }
            }
            return nil
        default:
            while offset < end, ![0x2C, 0x7D, 0x5D, 0x20, 0x09, 0x0A, 0x0D].contains(bytes[offset]) { offset += 1 }
            return offset > start ? start..<offset : nil
        }
    }
}
