/// Says whether bytes are one JSON value on one line: RFC 8259, UTF-8, no white space between the parts. Shares no code
/// with what it judges; its stack is an array, so that no depth of nesting overflows.
struct JSONCheck {
    private var nesting: [UInt8] = []

    mutating func isValid(_ bytes: Span<UInt8>) -> Bool {
        guard (try? UTF8Span(validating: bytes)) != nil else { return false }
        nesting.removeAll(keepingCapacity: true)
        var place = 0
        repeat {
            guard openOrScalar(bytes, &place) else { return false }
            // Behind a value: what it closes, then a comma and the next, or the end.
            while let open = nesting.last, place < bytes.count, bytes[place] == open + 2 {
                nesting.removeLast()
                place += 1
            }
            guard let open = nesting.last else { return place == bytes.count }
            guard take(UInt8(ascii: ","), bytes, &place) else { return false }
            if open == UInt8(ascii: "{") { guard name(bytes, &place) else { return false } }
        } while true
    }

    /// Brackets as deep as they open, up to a scalar or an empty one.
    private mutating func openOrScalar(_ bytes: Span<UInt8>, _ place: inout Int) -> Bool {
        while place < bytes.count {
            let byte = bytes[place]
            guard byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") else { return scalar(bytes, &place) }
            place += 1
            // Closing brackets are two above their opening ones in ASCII.
            if take(byte + 2, bytes, &place) { return true }
            nesting.append(byte)
            if byte == UInt8(ascii: "{") { guard name(bytes, &place) else { return false } }
        }
        return false
    }

    private func take(_ byte: UInt8, _ bytes: Span<UInt8>, _ place: inout Int) -> Bool {
        guard place < bytes.count, bytes[place] == byte else { return false }
        place += 1
        return true
    }

    private func name(_ bytes: Span<UInt8>, _ place: inout Int) -> Bool {
        string(bytes, &place) && take(UInt8(ascii: ":"), bytes, &place)
    }

    private func scalar(_ bytes: Span<UInt8>, _ place: inout Int) -> Bool {
        switch bytes[place] {
        case UInt8(ascii: "\""): string(bytes, &place)
        case UInt8(ascii: "t"): word("true", bytes, &place)
        case UInt8(ascii: "f"): word("false", bytes, &place)
        case UInt8(ascii: "n"): word("null", bytes, &place)
        default: number(bytes, &place)
        }
    }

    private func word(_ word: StaticString, _ bytes: Span<UInt8>, _ place: inout Int) -> Bool {
        word.withUTF8Buffer { letters in
            for letter in letters { guard take(letter, bytes, &place) else { return false } }
            return true
        }
    }

    private func string(_ bytes: Span<UInt8>, _ place: inout Int) -> Bool {
        guard take(UInt8(ascii: "\""), bytes, &place) else { return false }
        while place < bytes.count {
            let byte = bytes[place]
            place += 1
            switch byte {
            case UInt8(ascii: "\""): return true
            case 0..<0x20: return false
            case UInt8(ascii: "\\"):
                guard place < bytes.count else { return false }
                let escaped = bytes[place]
                place += 1
                switch escaped {
                case UInt8(ascii: "u"):
                    for _ in 0..<4 {
                        guard place < bytes.count, isHexadecimal(bytes[place]) else { return false }
                        place += 1
                    }
                case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
                    UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
                    break
                default: return false
                }
            default: break
            }
        }
        return false
    }

    private func isHexadecimal(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 6 }

    private func digits(_ bytes: Span<UInt8>, _ place: inout Int) -> Int {
        let start = place
        while place < bytes.count, bytes[place] &- 0x30 < 10 { place += 1 }
        return place - start
    }

    private func number(_ bytes: Span<UInt8>, _ place: inout Int) -> Bool {
        _ = take(UInt8(ascii: "-"), bytes, &place)
        let first = place
        let whole = digits(bytes, &place)
        guard whole > 0, whole == 1 || bytes[first] != UInt8(ascii: "0") else { return false }
        if take(UInt8(ascii: "."), bytes, &place) { guard digits(bytes, &place) > 0 else { return false } }
        if take(UInt8(ascii: "e"), bytes, &place) || take(UInt8(ascii: "E"), bytes, &place) {
            _ = take(UInt8(ascii: "+"), bytes, &place) || take(UInt8(ascii: "-"), bytes, &place)
            guard digits(bytes, &place) > 0 else { return false }
        }
        return true
    }
}
