// Dates and times, from PostgreSQL's ISO text to ISO 8601 as Debezium's `isostring` writes it, or to numbers.

extension ByteBuffer {
    /// `2024-02-29` as `"2024-02-29Z"`; years BC and past 9999 as `-0043` and `+12345`.
    mutating func append(date text: Span<UInt8>) throws(ValueFailure) {
        if text.count == 10, isPlainDate(text) {
            append(UInt8(ascii: "\""))
            append(text)
            append("Z\"")
        } else if isInfinity(text) {
            try append(jsonString: text)
        } else {
            let time = try CivilTime(text, hasDate: true, hasTime: false, hasOffset: false)
            append(UInt8(ascii: "\""))
            append(dateOf: time)
            append("Z\"")
        }
    }

    /// `2024-02-29 12:34:56.5` as `"2024-02-29T12:34:56.5Z"`: the Z is Debezium's, the type has no zone.
    mutating func append(timestamp text: Span<UInt8>) throws(ValueFailure) {
        guard !isInfinity(text) else {
            try append(jsonString: text)
            return
        }
        let time = try CivilTime(text, hasDate: true, hasTime: true, hasOffset: false)
        append(UInt8(ascii: "\""))
        append(dateOf: time)
        append(UInt8(ascii: "T"))
        append(clockOf: time)
        append(trimmedFraction: time.microsecond)
        append("Z\"")
    }

    /// `2024-02-29 12:34:56+00` as `"2024-02-29T12:34:56.000000Z"`: UTC, with as many digits as the type has.
    mutating func append(timestamptz text: Span<UInt8>, precision: Int) throws(ValueFailure) {
        guard !isInfinity(text) else {
            try append(jsonString: text)
            return
        }
        var time = try CivilTime(text, hasDate: true, hasTime: true, hasOffset: true)
        time.turnToUTC()
        append(UInt8(ascii: "\""))
        append(dateOf: time)
        append(UInt8(ascii: "T"))
        append(clockOf: time)
        append(fraction: time.microsecond, digits: precision)
        append("Z\"")
    }

    /// `12:34:56.5` as `"12:34:56.5Z"`; `24:00:00` stays what it is.
    mutating func append(time text: Span<UInt8>) throws(ValueFailure) {
        let time = try CivilTime(text, hasDate: false, hasTime: true, hasOffset: false)
        append(UInt8(ascii: "\""))
        append(clockOf: time)
        append(trimmedFraction: time.microsecond)
        append("Z\"")
    }

    /// `12:34:56-03` as `"15:34:56Z"`: turned to UTC, within the day. `24:00:00+00` stays what it is.
    mutating func append(timetz text: Span<UInt8>) throws(ValueFailure) {
        var time = try CivilTime(text, hasDate: false, hasTime: true, hasOffset: true)
        if time.offset != 0 { time.turnToUTC() }
        append(UInt8(ascii: "\""))
        append(clockOf: time)
        append(trimmedFraction: time.microsecond)
        append("Z\"")
    }

    /// A date as days since 1970.
    mutating func append(dateEpoch text: Span<UInt8>) throws(ValueFailure) {
        guard !isInfinity(text) else {
            try append(jsonString: text)
            return
        }
        append(decimal: try CivilTime(text, hasDate: true, hasTime: false, hasOffset: false).days)
    }

    /// A timestamp, with or without a zone, as microseconds since 1970 UTC.
    mutating func append(timestampEpoch text: Span<UInt8>) throws(ValueFailure) {
        guard !isInfinity(text) else {
            try append(jsonString: text)
            return
        }
        let end = text.count - 3
        let isBC = end > 0 && equal(text.extracting(end...), " BC")
        // A zone's sign is the only '+' or '-' behind the time's first colon.
        var index = isBC ? end - 1 : text.count - 1
        while index > 0, isDigit(text[index]) || text[index] == UInt8(ascii: ":") { index -= 1 }
        let hasOffset = index > 10 && (text[index] == UInt8(ascii: "+") || text[index] == UInt8(ascii: "-"))
        let time = try CivilTime(text, hasDate: true, hasTime: true, hasOffset: hasOffset)
        let seconds = time.days * 86_400 + time.secondsOfDay
        if seconds > 0 {
            // Digit by digit: PostgreSQL's last years are beyond 64 bits of microseconds since 1970.
            append(decimal: seconds)
            append(decimal: time.microsecond, width: 6)
        } else {
            let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
            guard !overflow else { throw .invalidText }
            append(decimal: scaled + time.microsecond)
        }
    }

    /// A time as microseconds since midnight, of UTC where it has a zone.
    mutating func append(timeEpoch text: Span<UInt8>, hasZone: Bool) throws(ValueFailure) {
        var time = try CivilTime(text, hasDate: false, hasTime: true, hasOffset: hasZone)
        if time.offset != 0 { time.turnToUTC() }
        append(decimal: time.secondsOfDay * 1_000_000 + time.microsecond)
    }

    /// A moment in microseconds since 1970 as `2024-02-29T12:34:56.000000Z`, without quotes.
    mutating func append(moment microseconds: Int64) {
        let time = CivilTime(microseconds: microseconds)
        append(dateOf: time)
        append(UInt8(ascii: "T"))
        append(clockOf: time)
        append(fraction: time.microsecond, digits: 6)
        append(UInt8(ascii: "Z"))
    }

    private mutating func append(dateOf time: CivilTime) {
        if time.year < 0 {
            append(UInt8(ascii: "-"))
        } else if time.year > 9999 {
            append(UInt8(ascii: "+"))
        }
        append(decimal: abs(time.year), width: 4)
        append(UInt8(ascii: "-"))
        append(decimal: time.month, width: 2)
        append(UInt8(ascii: "-"))
        append(decimal: time.day, width: 2)
    }

    private mutating func append(clockOf time: CivilTime) {
        append(decimal: time.hour, width: 2)
        append(UInt8(ascii: ":"))
        append(decimal: time.minute, width: 2)
        append(UInt8(ascii: ":"))
        append(decimal: time.second, width: 2)
    }

    private mutating func append(fraction microsecond: Int, digits: Int) {
        guard digits > 0 else { return }
        var value = microsecond
        for _ in digits..<6 { value /= 10 }
        append(UInt8(ascii: "."))
        append(decimal: value, width: digits)
    }

    /// Appends a fraction without trailing zeros, and nothing for none.
    mutating func append(trimmedFraction microsecond: Int) {
        guard microsecond > 0 else { return }
        var digits = 6
        var value = microsecond
        while value % 10 == 0 {
            value /= 10
            digits -= 1
        }
        append(UInt8(ascii: "."))
        append(decimal: value, width: digits)
    }

    private func isPlainDate(_ text: Span<UInt8>) -> Bool {
        let isDashed = text[4] == UInt8(ascii: "-") && text[7] == UInt8(ascii: "-")
        let month = (text[5] &- 0x30) &* 10 &+ (text[6] &- 0x30)
        let day = (text[8] &- 0x30) &* 10 &+ (text[9] &- 0x30)
        return isDashed && isDigit(text[0]) && isDigit(text[1]) && isDigit(text[2]) && isDigit(text[3])
            && isDigit(text[5]) && isDigit(text[6]) && isDigit(text[8]) && isDigit(text[9])
            && (1...12).contains(month) && (1...31).contains(day)
    }

    func isInfinity(_ text: Span<UInt8>) -> Bool {
        equal(text, "infinity") || equal(text, "-infinity")
    }
}
