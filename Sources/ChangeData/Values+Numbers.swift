// Numbers, as PostgreSQL's text. Each text is checked to be JSON's before it is written as a JSON number.

/// Where the parts of a decimal number's text end; nil when the text is not a JSON number.
private struct DecimalText {
    /// True for `-?digits` alone.
    var isWhole: Bool

    @inline(__always)
    init?(_ text: Span<UInt8>) {
        let count = text.count
        var offset = 0
        if count > 0, text[0] == UInt8(ascii: "-") { offset = 1 }
        let first = offset
        offset = ByteBuffer.digitsEnd(text, from: offset)
        guard offset > first, offset &- first == 1 || text[first] != UInt8(ascii: "0") else { return nil }
        isWhole = offset == count
        if offset < count, text[offset] == UInt8(ascii: ".") {
            let start = offset &+ 1
            offset = ByteBuffer.digitsEnd(text, from: start)
            guard offset > start else { return nil }
        }
        if offset < count, text[offset] | 0x20 == UInt8(ascii: "e") {
            offset &+= 1
            if offset < count, text[offset] == UInt8(ascii: "-") || text[offset] == UInt8(ascii: "+") { offset &+= 1 }
            let start = offset
            while offset < count, isDigit(text[offset]) { offset &+= 1 }
            guard offset > start else { return nil }
        }
        guard offset == count else { return nil }
    }
}

/// Whether the bytes are one JSON number.
func isJSONNumber(_ text: Span<UInt8>) -> Bool {
    DecimalText(text) != nil
}

extension ByteBuffer {
    /// An integer, as it is.
    mutating func append(integer text: Span<UInt8>) throws(ValueFailure) {
        guard let number = DecimalText(text), number.isWhole else { throw .invalidText }
        append(text)
    }

    /// A float: PostgreSQL's shortest text, with `.0` after whole digits so that it stays a float; NaN and the
    /// infinities as strings.
    mutating func append(float text: Span<UInt8>) throws(ValueFailure) {
        guard let number = DecimalText(text) else {
            guard isSpecialFloat(text) else { throw .invalidText }
            try append(jsonString: text)
            return
        }
        append(text)
        if number.isWhole { append(".0") }
    }

    private func isSpecialFloat(_ text: Span<UInt8>) -> Bool {
        equal(text, "NaN") || equal(text, "Infinity") || equal(text, "-Infinity")
    }

    /// A float in a key, spelt as Java spells its floats, so that equal keys have equal bytes: plain from 0.001 to
    /// under ten million, else with an exponent.
    mutating func append(keyFloat text: Span<UInt8>, _ digits: inout ByteBuffer) throws(ValueFailure) {
        guard DecimalText(text) != nil else {
            guard isSpecialFloat(text) else { throw .invalidText }
            try append(jsonString: text)
            return
        }
        // The number is 0.<digits> * 10^point.
        digits.removeAll()
        var point = 0
        var hasPoint = false
        var offset = text[0] == UInt8(ascii: "-") ? 1 : 0
        if offset == 1 { append(UInt8(ascii: "-")) }
        while offset < text.count, text[offset] | 0x20 != UInt8(ascii: "e") {
            let byte = text[offset]
            if byte == UInt8(ascii: ".") {
                hasPoint = true
            } else if byte != UInt8(ascii: "0") || digits.count > 0 {
                digits.append(byte)
                if !hasPoint { point += 1 }
            } else if hasPoint {
                point -= 1
            }
            offset += 1
        }
        if offset < text.count { point += try exponent(text.extracting((offset + 1)...)) }
        var length = digits.count
        while length > 0, digits.span[length - 1] == UInt8(ascii: "0") { length -= 1 }
        guard length > 0 else {
            append("0.0")
            return
        }
        appendJava(digits.span.extracting(first: length), point: point)
    }

    private mutating func appendJava(_ digits: Span<UInt8>, point: Int) {
        let isPlain = (-2...7).contains(point)
        let whole = isPlain ? point : 1
        if whole <= 0 { append(UInt8(ascii: "0")) }
        for place in 0..<max(whole, 0) { append(place < digits.count ? digits[place] : UInt8(ascii: "0")) }
        append(UInt8(ascii: "."))
        for _ in 0..<max(-whole, 0) { append(UInt8(ascii: "0")) }
        if whole < digits.count {
            append(digits.extracting(max(whole, 0)...))
        } else {
            append(UInt8(ascii: "0"))
        }
        guard !isPlain else { return }
        append(UInt8(ascii: "E"))
        append(decimal: point - 1)
    }

    private func exponent(_ text: Span<UInt8>) throws(ValueFailure) -> Int {
        var value = 0
        let hasSign = text[0] == UInt8(ascii: "-") || text[0] == UInt8(ascii: "+")
        guard text.count <= 6 else { throw .invalidText }
        for offset in (hasSign ? 1 : 0)..<text.count { value = value * 10 + Int(text[offset] & 0xF) }
        return text[0] == UInt8(ascii: "-") ? -value : value
    }

    /// A numeric as a string of its digits; NaN and the infinities by Debezium's names.
    mutating func append(numeric text: Span<UInt8>) throws(ValueFailure) {
        guard DecimalText(text) != nil else {
            try append(specialNumeric: text)
            return
        }
        append(UInt8(ascii: "\""))
        append(text)
        append(UInt8(ascii: "\""))
    }

    /// A numeric as an exact JSON number.
    mutating func append(numericNumber text: Span<UInt8>) throws(ValueFailure) {
        guard DecimalText(text) != nil else {
            try append(specialNumeric: text)
            return
        }
        append(text)
    }

    private mutating func append(specialNumeric text: Span<UInt8>) throws(ValueFailure) {
        if equal(text, "NaN") {
            append("\"NAN\"")
        } else if equal(text, "Infinity") {
            append("\"POSITIVE_INFINITY\"")
        } else if equal(text, "-Infinity") {
            append("\"NEGATIVE_INFINITY\"")
        } else {
            throw .invalidText
        }
    }

    /// Money, `-$1,234.56` in the C locale, as the string `-1234.56`.
    mutating func append(money text: Span<UInt8>) throws(ValueFailure) {
        var offset = 0
        append(UInt8(ascii: "\""))
        if offset < text.count, text[offset] == UInt8(ascii: "-") {
            append(UInt8(ascii: "-"))
            offset += 1
        }
        guard offset < text.count, text[offset] == UInt8(ascii: "$") else { throw .foreignMoney }
        offset += 1
        guard text.count - offset >= 4, text[text.count - 3] == UInt8(ascii: ".") else { throw .foreignMoney }
        while offset < text.count {
            let byte = text[offset]
            if offset == text.count - 3 || isDigit(byte) {
                append(byte)
            } else if byte != UInt8(ascii: ",") || offset > text.count - 3 {
                throw .foreignMoney
            }
            offset += 1
        }
        append(UInt8(ascii: "\""))
    }

    /// A boolean by its two texts.
    mutating func append(boolean text: Span<UInt8>, isTrue: UInt8, isFalse: UInt8) throws(ValueFailure) {
        guard text.count == 1, text[0] == isTrue || text[0] == isFalse else { throw .invalidText }
        append(text[0] == isTrue ? "true" : "false")
    }
}
