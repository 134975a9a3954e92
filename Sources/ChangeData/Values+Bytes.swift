extension ByteBuffer {
    /// bytea, `\x00ff` (`bytea_output` is hex), as base 64.
    mutating func append(bytea text: Span<UInt8>) throws(ValueFailure) {
        guard text.count >= 2, text.count % 2 == 0, text[0] == UInt8(ascii: "\\"), text[1] == UInt8(ascii: "x") else {
            throw .invalidText
        }
        reserve((text.count - 2 + 5) / 6 * 4 + 2)
        append(UInt8(ascii: "\""))
        var offset = 2
        while offset + 6 <= text.count {
            let first = try hexadecimalByte(text, offset)
            let second = try hexadecimalByte(text, offset + 2)
            appendBase64(first, second, try hexadecimalByte(text, offset + 4), digits: 4)
            offset += 6
        }
        switch text.count - offset {
        case 2: appendBase64(try hexadecimalByte(text, offset), 0, 0, digits: 2)
        case 4:
            let first = try hexadecimalByte(text, offset)
            appendBase64(first, try hexadecimalByte(text, offset + 2), 0, digits: 3)
        default: break
        }
        append(UInt8(ascii: "\""))
    }

    /// bit(n), n > 1: as Debezium, base 64 of the number's little-endian bytes without its leading zero bytes. The
    /// length is the type's, so nothing is lost.
    mutating func append(bits text: Span<UInt8>, _ bytes: inout ByteBuffer) throws(ValueFailure) {
        bytes.removeAll()
        var length = 0
        var end = text.count
        while end > 0 {
            var byte: UInt8 = 0
            for offset in max(end - 8, 0)..<end {
                guard text[offset] & 0xFE == UInt8(ascii: "0") else { throw .invalidText }
                byte = byte << 1 | (text[offset] & 1)
            }
            bytes.append(byte)
            if byte != 0 { length = bytes.count }
            end -= 8
        }
        append(UInt8(ascii: "\""))
        append(base64: bytes.span.extracting(first: length))
        append(UInt8(ascii: "\""))
    }

    /// point, `(x,y)`, as Debezium's structure with well-known binary.
    mutating func append(point text: Span<UInt8>) throws(ValueFailure) {
        guard text.count >= 5, text[0] == UInt8(ascii: "("), text[text.count - 1] == UInt8(ascii: ")") else {
            throw .invalidText
        }
        var comma = 1
        while comma < text.count, text[comma] != UInt8(ascii: ",") { comma += 1 }
        guard comma < text.count - 1 else { throw .invalidText }
        let horizontal = text.extracting(1..<comma)
        let vertical = text.extracting(comma + 1..<text.count - 1)
        append("{\"x\":")
        try append(float: horizontal)
        append(",\"y\":")
        try append(float: vertical)
        append(",\"wkb\":\"")
        var binary: [UInt8] = [1, 1, 0, 0, 0]
        for value in [try double(horizontal), try double(vertical)] {
            for shift in 0..<8 { binary.append(UInt8(truncatingIfNeeded: value.bitPattern >> UInt64(8 * shift))) }
        }
        append(base64: binary.span)
        append("\",\"srid\":null}")
    }

    private func double(_ text: Span<UInt8>) throws(ValueFailure) -> Double {
        guard let string = String(utf8: text), let value = Double(string) else { throw .invalidText }
        // NaN has many bit patterns; Java's and PostgreSQL's is the plain quiet one.
        return value.isNaN ? Double(bitPattern: 0x7FF8_0000_0000_0000) : value
    }
}

private func hexadecimalByte(_ text: Span<UInt8>, _ offset: Int) throws(ValueFailure) -> UInt8 {
    let high = hexadecimalValue(text[offset])
    let low = hexadecimalValue(text[offset + 1])
    guard high | low < 16 else { throw .invalidText }
    return high << 4 | low
}

/// The value of a hexadecimal digit; 255 for any other byte.
@inline(__always)
private func hexadecimalValue(_ byte: UInt8) -> UInt8 {
    let digit = byte &- 0x30
    if digit < 10 { return digit }
    let letter = (byte | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : 0xFF
}
