extension ByteBuffer {
    /// Appends an LSN as PostgreSQL writes it, `16/B374D848`.
    public mutating func append(lsn: LSN) {
        appendHexadecimal(UInt32(truncatingIfNeeded: lsn.rawValue >> 32))
        append(UInt8(ascii: "/"))
        appendHexadecimal(UInt32(truncatingIfNeeded: lsn.rawValue))
    }

    private mutating func appendHexadecimal(_ number: UInt32) {
        var shift = number == 0 ? 0 : (31 - number.leadingZeroBitCount) / 4 * 4
        while shift >= 0 {
            append(hexadecimalDigit(UInt8(truncatingIfNeeded: number >> UInt32(shift)) & 0xF))
            shift -= 4
        }
    }

    /// Appends a number with at least so many digits, filled with zeros.
    mutating func append(decimal number: Int, width: Int) {
        var bound = 10
        for _ in 1..<max(width, 1) {
            if number < bound { append(UInt8(ascii: "0")) }
            bound *= 10
        }
        append(decimal: UInt64(max(number, 0)))
    }

    /// Appends a JSON string of text: quotes and escapes.
    public mutating func append(jsonString bytes: Span<UInt8>, escapesPairs: Bool = true) throws(ValueFailure) {
        append(UInt8(ascii: "\""))
        try append(jsonText: bytes, escapesPairs: escapesPairs)
        append(UInt8(ascii: "\""))
    }

    /// Appends a JSON string of a Swift string, which is always valid.
    mutating func append(jsonString text: String) {
        let bytes = Array(text.utf8)
        append(UInt8(ascii: "\""))
        // A Swift string's UTF-8 is valid: the text cannot be refused.
        try? append(jsonText: bytes.span)
        append(UInt8(ascii: "\""))
    }

    /// Appends one character that JSON text does not hold as it is, or one that is not ASCII (and is checked here).
    /// Returns the offset after it.
    mutating func appendSpecial(
        _ bytes: Span<UInt8>, at start: Int, _ escapesPairs: Bool
    ) throws(ValueFailure) -> Int {
        let lead = bytes[start]
        switch lead {
        case 0x08: append("\\b")
        case 0x09: append("\\t")
        case 0x0A: append("\\n")
        case 0x0C: append("\\f")
        case 0x0D: append("\\r")
        case 0x22: append("\\\"")
        case 0x5C: append("\\\\")
        case 0..<0x20: appendEscape(UInt16(lead))
        case 0..<0x80: append(lead)
        default:
            // Runs of characters that are not ASCII stay in this loop.
            var offset = start
            while offset < bytes.count, bytes[offset] >= 0x80 {
                let length = try utf8Length(bytes, at: offset)
                if length == 4, escapesPairs {
                    appendSurrogates(bytes, at: offset)
                } else {
                    append(bytes.extracting(offset..<offset + length))
                }
                offset += length
            }
            return offset
        }
        return start + 1
    }

    private mutating func appendSurrogates(_ bytes: Span<UInt8>, at offset: Int) {
        let scalar =
            UInt32(bytes[offset] & 0x07) << 18 | UInt32(bytes[offset + 1] & 0x3F) << 12
            | UInt32(bytes[offset + 2] & 0x3F) << 6 | UInt32(bytes[offset + 3] & 0x3F)
        let rest = scalar - 0x10000
        appendEscape(UInt16(0xD800 + (rest >> 10)))
        appendEscape(UInt16(0xDC00 + (rest & 0x3FF)))
    }

    private mutating func appendEscape(_ unit: UInt16) {
        append("\\u")
        append(hexadecimalDigit(UInt8(unit >> 12)))
        append(hexadecimalDigit(UInt8(unit >> 8) & 0xF))
        append(hexadecimalDigit(UInt8(truncatingIfNeeded: unit >> 4) & 0xF))
        append(hexadecimalDigit(UInt8(truncatingIfNeeded: unit) & 0xF))
    }

    /// Appends bytes in base 64, with padding.
    public mutating func append(base64 bytes: Span<UInt8>) {
        reserve((bytes.count + 2) / 3 * 4)
        var offset = 0
        while offset + 3 <= bytes.count {
            appendBase64(bytes[offset], bytes[offset + 1], bytes[offset + 2], digits: 4)
            offset += 3
        }
        switch bytes.count - offset {
        case 1: appendBase64(bytes[offset], 0, 0, digits: 2)
        case 2: appendBase64(bytes[offset], bytes[offset + 1], 0, digits: 3)
        default: break
        }
    }

    /// Appends three bytes in base 64: so many digits, then padding to four.
    mutating func appendBase64(_ first: UInt8, _ second: UInt8, _ third: UInt8, digits: Int) {
        let group = UInt32(first) << 16 | UInt32(second) << 8 | UInt32(third)
        append(base64Digit(group >> 18))
        append(base64Digit(group >> 12 & 0x3F))
        append(digits > 2 ? base64Digit(group >> 6 & 0x3F) : UInt8(ascii: "="))
        append(digits > 3 ? base64Digit(group & 0x3F) : UInt8(ascii: "="))
    }
}

/// The length of the UTF-8 sequence that begins with the non-ASCII byte at the offset; overlong forms, surrogates and
/// what is beyond U+10FFFF are refused.
func utf8Length(_ bytes: Span<UInt8>, at offset: Int) throws(ValueFailure) -> Int {
    let lead = bytes[offset]
    let length: Int
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch lead {
    case 0xC2...0xDF: length = 2
    case 0xE0:
        length = 3
        second = 0xA0...0xBF
    case 0xED:
        length = 3
        second = 0x80...0x9F
    case 0xE1...0xEF: length = 3
    case 0xF0:
        length = 4
        second = 0x90...0xBF
    case 0xF4:
        length = 4
        second = 0x80...0x8F
    case 0xF1...0xF3: length = 4
    default: throw .invalidUTF8
    }
    guard bytes.count - offset >= length, second.contains(bytes[offset + 1]) else { throw .invalidUTF8 }
    for index in 2..<max(length, 2) where bytes[offset + index] & 0xC0 != 0x80 { throw .invalidUTF8 }
    return length
}

@inline(__always)
private func hexadecimalDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? 0x30 &+ value : 0x37 &+ value
}

@inline(__always)
private func base64Digit(_ value: UInt32) -> UInt8 {
    let digit = UInt8(truncatingIfNeeded: value)
    return switch digit {
    case 0..<26: digit &+ 0x41
    case 26..<52: digit &+ 0x47
    case 52..<62: digit &- 4
    case 62: UInt8(ascii: "+")
    default: UInt8(ascii: "/")
    }
}
