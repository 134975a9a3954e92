import Dates

/// A date, a time or both, as PostgreSQL prints them with DateStyle ISO: proleptic Gregorian, years counted
/// astronomically (1 BC is 0).
struct CivilTime {
    var year = 1970
    var month = 1
    var day = 1
    var hour = 0
    var minute = 0
    var second = 0
    var microsecond = 0
    /// Seconds east of UTC.
    var offset = 0

    /// Parses all of a text: `[date][ ][time][offset][ BC]`, of which the arguments say what must be there.
    init(_ text: Span<UInt8>, hasDate: Bool, hasTime: Bool, hasOffset: Bool) throws(ValueFailure) {
        var cursor = 0
        if hasDate {
            year = try CivilTime.number(text, &cursor, digits: 4...7)
            try CivilTime.expect(UInt8(ascii: "-"), text, &cursor)
            month = try CivilTime.number(text, &cursor, digits: 2...2)
            try CivilTime.expect(UInt8(ascii: "-"), text, &cursor)
            day = try CivilTime.number(text, &cursor, digits: 2...2)
            guard (1...12).contains(month), (1...31).contains(day) else { throw .invalidText }
            if hasTime { try CivilTime.expect(UInt8(ascii: " "), text, &cursor) }
        }
        if hasTime { try readTime(text, &cursor) }
        if hasOffset { try readOffset(text, &cursor) }
        if hasDate, cursor < text.count, equal(text.extracting(cursor...), " BC") {
            year = 1 - year
            cursor = text.count
        }
        guard cursor == text.count else { throw .invalidText }
    }

    private mutating func readTime(_ text: Span<UInt8>, _ cursor: inout Int) throws(ValueFailure) {
        hour = try CivilTime.number(text, &cursor, digits: 2...2)
        try CivilTime.expect(UInt8(ascii: ":"), text, &cursor)
        minute = try CivilTime.number(text, &cursor, digits: 2...2)
        try CivilTime.expect(UInt8(ascii: ":"), text, &cursor)
        second = try CivilTime.number(text, &cursor, digits: 2...2)
        guard hour <= 24, minute < 60, second <= 60 else { throw .invalidText }
        microsecond = try CivilTime.fraction(text, &cursor)
    }

    private mutating func readOffset(_ text: Span<UInt8>, _ cursor: inout Int) throws(ValueFailure) {
        guard cursor < text.count, text[cursor] == UInt8(ascii: "+") || text[cursor] == UInt8(ascii: "-") else {
            throw .invalidText
        }
        let sign = text[cursor] == UInt8(ascii: "-") ? -1 : 1
        var scale = 3600
        repeat {
            cursor += 1
            offset += try CivilTime.number(text, &cursor, digits: 2...2) * scale
            scale /= 60
        } while scale > 0 && cursor < text.count && text[cursor] == UInt8(ascii: ":")
        offset *= sign
    }

    /// Reads a fraction of a second, in microseconds; 0 where there is none.
    static func fraction(_ text: Span<UInt8>, _ cursor: inout Int) throws(ValueFailure) -> Int {
        guard cursor < text.count, text[cursor] == UInt8(ascii: ".") else { return 0 }
        cursor += 1
        let start = cursor
        var value = try number(text, &cursor, digits: 1...6)
        for _ in cursor - start..<6 { value *= 10 }
        return value
    }

    static func number(
        _ text: Span<UInt8>, _ cursor: inout Int, digits: ClosedRange<Int>
    ) throws(ValueFailure) -> Int {
        var value = 0
        let start = cursor
        while cursor < text.count, isDigit(text[cursor]), cursor - start < digits.upperBound {
            value = value * 10 + Int(text[cursor] & 0xF)
            cursor += 1
        }
        guard cursor - start >= digits.lowerBound else { throw .invalidText }
        return value
    }

    private static func expect(_ byte: UInt8, _ text: Span<UInt8>, _ cursor: inout Int) throws(ValueFailure) {
        guard cursor < text.count, text[cursor] == byte else { throw .invalidText }
        cursor += 1
    }

    /// Days since 1970.
    var days: Int { CivilDate.days(year: year, month: month, day: day) }

    /// Seconds since midnight UTC of the date: may be negative, or past the day.
    var secondsOfDay: Int {
        hour * 3600 + minute * 60 + second - offset
    }

    /// The same moment in UTC. A time of 24:00 becomes the next day's midnight.
    mutating func turnToUTC() {
        guard offset != 0 || hour == 24 || second == 60 else { return }
        let seconds = secondsOfDay
        let dayShift = seconds >= 0 ? seconds / 86_400 : -((86_399 - seconds) / 86_400)
        self.set(days: days + dayShift)
        let rest = seconds - dayShift * 86_400
        hour = rest / 3600
        minute = rest / 60 % 60
        second = rest % 60
        offset = 0
    }

    /// A moment by its microseconds since 1970.
    init(microseconds: Int64) {
        let moment = Int(microseconds)
        let dayCount = moment >= 0 ? moment / 86_400_000_000 : -((86_399_999_999 - moment) / 86_400_000_000)
        set(days: dayCount)
        let rest = moment - dayCount * 86_400_000_000
        hour = rest / 3_600_000_000
        minute = rest / 60_000_000 % 60
        second = rest / 1_000_000 % 60
        microsecond = rest % 1_000_000
    }

    private mutating func set(days: Int) {
        let date = CivilDate(daysSince1970: days)
        (year, month, day) = (date.year, date.month, date.day)
    }
}
