extension ByteBuffer {
    /// A json or jsonb value as itself: checked to be one JSON value, without the white space between its parts, so
    /// that a record stays one line. Strings and numbers are kept byte for byte. The nesting is on an array, not on
    /// the stack: no depth can overflow it.
    mutating func append(json text: Span<UInt8>, _ nesting: inout [UInt8]) throws(ValueFailure) {
        nesting.removeAll(keepingCapacity: true)
        var cursor = 0
        /// What may come next.
        enum Expected {
            case value, valueOrEnd, name, nameOrEnd, colon, commaOrEnd, nothing
        }
        var expected = Expected.value
        while cursor < text.count {
            let byte = text[cursor]
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"):
                cursor += 1
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                guard expected == .value || expected == .valueOrEnd else { throw .invalidText }
                nesting.append(byte)
                expected = byte == UInt8(ascii: "{") ? .nameOrEnd : .valueOrEnd
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                // An opening bracket is two below its closing one in ASCII.
                let emptyEnd = byte == UInt8(ascii: "}") ? Expected.nameOrEnd : .valueOrEnd
                guard expected == .commaOrEnd || expected == emptyEnd, nesting.popLast() == byte - 2 else {
                    throw .invalidText
                }
                expected = nesting.isEmpty ? .nothing : .commaOrEnd
            case UInt8(ascii: ","):
                guard expected == .commaOrEnd, let open = nesting.last else { throw .invalidText }
                expected = open == UInt8(ascii: "{") ? .name : .value
            case UInt8(ascii: ":"):
                guard expected == .colon else { throw .invalidText }
                expected = .value
            default:
                let start = cursor
                let isName = expected == .name || expected == .nameOrEnd
                guard isName || expected == .value || expected == .valueOrEnd else { throw .invalidText }
                if byte == UInt8(ascii: "\"") {
                    try skipString(text, &cursor)
                } else {
                    guard !isName else { throw .invalidText }
                    try skipLiteral(text, &cursor)
                }
                append(text.extracting(start..<cursor))
                expected = isName ? .colon : nesting.isEmpty ? .nothing : .commaOrEnd
                continue
            }
            append(byte)
            cursor += 1
        }
        guard expected == .nothing else { throw .invalidText }
    }

    private func skipString(_ text: Span<UInt8>, _ cursor: inout Int) throws(ValueFailure) {
        cursor += 1
        while cursor < text.count {
            let byte = text[cursor]
            switch byte {
            case UInt8(ascii: "\""):
                cursor += 1
                return
            case UInt8(ascii: "\\"):
                try skipEscape(text, &cursor)
            case 0..<0x20:
                throw .invalidText
            case 0x80...0xFF:
                cursor += try utf8Length(text, at: cursor)
            default:
                cursor += 1
            }
        }
        throw .invalidText
    }

    private func skipEscape(_ text: Span<UInt8>, _ cursor: inout Int) throws(ValueFailure) {
        guard cursor + 1 < text.count else { throw .invalidText }
        switch text[cursor + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            cursor += 2
        case UInt8(ascii: "u"):
            guard text.count - cursor >= 6 else { throw .invalidText }
            for offset in cursor + 2..<cursor + 6 {
                let byte = text[offset]
                guard isDigit(byte) || (byte | 0x20) &- 0x61 < 6 else { throw .invalidText }
            }
            cursor += 6
        default:
            throw .invalidText
        }
    }

    private func skipLiteral(_ text: Span<UInt8>, _ cursor: inout Int) throws(ValueFailure) {
        let start = cursor
        loop: while cursor < text.count {
            switch text[cursor] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "E"),
                UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
                cursor += 1
            default: break loop
            }
        }
        let literal = text.extracting(start..<cursor)
        guard isJSONNumber(literal) || equal(literal, "true") || equal(literal, "false") || equal(literal, "null")
        else {
            throw .invalidText
        }
    }
}
