/// Times as people and JSON read them.
public enum ISOTime {
    /// `2024-02-29T12:34:56.123456Z`, from microseconds since 1970 (years 1 to 9999).
    public static func text(microseconds: Int64) -> String {
        let (seconds, fraction) = floored(microseconds, 1_000_000)
        return text(seconds: seconds) + padded(fraction, 6) + "Z"
    }

    /// `2024-02-29T12:34:56.123Z`: what is less than a millisecond is cut off.
    public static func milliseconds(microseconds: Int64) -> String {
        let (seconds, fraction) = floored(microseconds, 1_000_000)
        return text(seconds: seconds) + padded(fraction / 1000, 3) + "Z"
    }

    /// As far as the point before the fraction.
    private static func text(seconds: Int64) -> String {
        let (days, time) = floored(seconds, 86_400)
        let date = CivilDate(daysSince1970: Int(days))
        return padded(date.year, 4) + "-" + padded(date.month, 2) + "-" + padded(date.day, 2) + "T"
            + padded(time / 3600, 2) + ":" + padded(time / 60 % 60, 2) + ":" + padded(time % 60, 2) + "."
    }

    /// Microseconds since 1970 of what `text` writes; the fraction may have up to six digits or none.
    public static func microseconds(_ text: some StringProtocol) -> Int64? {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int64? {
            guard range.upperBound <= bytes.count else { return nil }
            var value: Int64 = 0
            for byte in bytes[range] {
                guard (0x30...0x39).contains(byte) else { return nil }
                value = value * 10 + Int64(byte - 0x30)
            }
            return value
        }
        guard bytes.count >= 20, bytes.last == UInt8(ascii: "Z"), bytes[4] == UInt8(ascii: "-"),
            bytes[7] == UInt8(ascii: "-"), bytes[10] == UInt8(ascii: "T"), bytes[13] == UInt8(ascii: ":"),
            bytes[16] == UInt8(ascii: ":"), let year = number(0..<4), let month = number(5..<7),
            let day = number(8..<10), let hour = number(11..<13), let minute = number(14..<16),
            let second = number(17..<19), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
            second < 60
        else { return nil }
        var fraction: Int64 = 0
        if bytes.count > 20 {
            let digits = bytes.count - 21
            guard bytes[19] == UInt8(ascii: "."), (1...6).contains(digits), var value = number(20..<bytes.count - 1)
            else { return nil }
            for _ in digits..<6 { value *= 10 }
            fraction = value
        }
        let days = Int64(CivilDate.days(year: Int(year), month: Int(month), day: Int(day)))
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second
        return seconds * 1_000_000 + fraction
    }

    private static func floored(_ value: Int64, _ unit: Int64) -> (Int64, Int64) {
        let rest = value % unit
        return rest < 0 ? (value / unit - 1, rest + unit) : (value / unit, rest)
    }
}
