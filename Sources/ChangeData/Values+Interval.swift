/// An interval, as PostgreSQL prints it with IntervalStyle postgres: `1 year -2 mons +3 days -04:05:06.789`.
private struct IntervalText {
    var years = 0
    var months = 0
    var days = 0
    var hours = 0
    var minutes = 0
    var seconds = 0
    var microseconds = 0
    var timeIsNegative = false

    init(_ text: Span<UInt8>) throws(ValueFailure) {
        guard !text.isEmpty else { throw .invalidText }
        var cursor = 0
        while cursor < text.count {
            if cursor > 0 {
                guard text[cursor] == UInt8(ascii: " ") else { throw .invalidText }
                cursor += 1
            }
            guard cursor < text.count else { throw .invalidText }
            let isNegative = text[cursor] == UInt8(ascii: "-")
            if isNegative || text[cursor] == UInt8(ascii: "+") { cursor += 1 }
            let number = try CivilTime.number(text, &cursor, digits: 1...10)
            if cursor < text.count, text[cursor] == UInt8(ascii: ":") {
                try readTime(text, &cursor, hours: number, isNegative: isNegative)
            } else {
                try readUnit(text, &cursor, isNegative ? -number : number)
            }
        }
    }

    private mutating func readTime(
        _ text: Span<UInt8>, _ cursor: inout Int, hours: Int, isNegative: Bool
    ) throws(ValueFailure) {
        self.hours = hours
        timeIsNegative = isNegative
        cursor += 1
        minutes = try CivilTime.number(text, &cursor, digits: 2...2)
        guard cursor < text.count, text[cursor] == UInt8(ascii: ":") else { throw .invalidText }
        cursor += 1
        seconds = try CivilTime.number(text, &cursor, digits: 2...2)
        microseconds = try CivilTime.fraction(text, &cursor)
        guard cursor == text.count else { throw .invalidText }
    }

    private mutating func readUnit(_ text: Span<UInt8>, _ cursor: inout Int, _ number: Int) throws(ValueFailure) {
        guard cursor < text.count, text[cursor] == UInt8(ascii: " ") else { throw .invalidText }
        cursor += 1
        let start = cursor
        while cursor < text.count, text[cursor] != UInt8(ascii: " ") { cursor += 1 }
        let unit = text.extracting(start..<cursor)
        if equal(unit, "year") || equal(unit, "years") {
            years = number
        } else if equal(unit, "mon") || equal(unit, "mons") {
            months = number
        } else if equal(unit, "day") || equal(unit, "days") {
            days = number
        } else {
            throw .invalidText
        }
    }
}

extension ByteBuffer {
    /// An interval as `"P1Y2M3DT4H5M6.789S"`, all parts always there, each with its sign.
    mutating func append(interval text: Span<UInt8>) throws(ValueFailure) {
        guard !isInfinity(text) else {
            try append(jsonString: text)
            return
        }
        let interval = try IntervalText(text)
        append("\"P")
        append(decimal: interval.years)
        append("Y")
        append(decimal: interval.months)
        append("M")
        append(decimal: interval.days)
        append("DT")
        let sign = interval.timeIsNegative ? -1 : 1
        append(decimal: sign * interval.hours)
        append("H")
        append(decimal: sign * interval.minutes)
        append("M")
        if interval.timeIsNegative, interval.seconds > 0 || interval.microseconds > 0 { append("-") }
        append(decimal: interval.seconds)
        append(trimmedFraction: interval.microseconds)
        append("S\"")
    }
}
