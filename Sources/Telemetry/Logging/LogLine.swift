/// One line before it is written.
struct LogLine {
    /// Microseconds since 1970.
    let time: Int64
    let level: Logger.Level
    let message: String
    let metadata: [(String, LogValue)]

    func json() -> String {
        var line = JSONText()
        line.object { object in
            object.member("ts", .string(Timestamp.text(microseconds: time)))
            object.member("level", .string(level.rawValue))
            object.member("message", .string(message))
            for (key, value) in metadata {
                // A reader that keeps one of two equal keys must not lose the line's own.
                let name = ["ts", "level", "message"].contains(key) ? "\(key)_" : key
                switch value {
                case .string(let text): object.member(name, .string(text))
                case .integer(let number): object.member(name, .integer(number))
                case .double(let number): object.member(name, .double(number))
                case .bool(let flag): object.member(name, .bool(flag))
                }
            }
        }
        return line.text + "\n"
    }

    func text(isColoured: Bool) -> String {
        func paint(_ text: String, _ code: String) -> String { isColoured ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }
        let name = level == .warning ? "WARN " : level.rawValue.uppercased() + (level == .info ? " " : "")
        let code =
            switch level {
            case .error: "1;31"
            case .warning: "1;33"
            case .info: "32"
            case .debug: "36"
            }
        var line = "\(paint(Timestamp.text(microseconds: time), "2")) \(paint(name, code)) \(message)"
        for (key, value) in metadata { line += " \(paint(key + "=", "2"))\(Self.shown(value))" }
        return line + "\n"
    }

    private static func shown(_ value: LogValue) -> String {
        switch value {
        case .integer(let number): return "\(number)"
        case .double(let number): return "\(number)"
        case .bool(let flag): return "\(flag)"
        case .string(let text):
            let isPlain =
                !text.isEmpty
                && text.unicodeScalars.allSatisfy {
                    $0.value > 0x20 && $0.value != 0x7F && $0 != "\"" && $0 != "="
                        && !($0.value >= 0x80 && $0.value < 0xA0)
                }
            if isPlain { return text }
            var quoted = JSONText()
            quoted.value(.string(text))
            return quoted.text
        }
    }
}

/// Times as text.
package enum Timestamp {
    /// `2026-11-25T19:40:00.123Z` of microseconds since 1970.
    package static func text(microseconds: Int64) -> String {
        let (days, inDay) = floorDivide(microseconds, 86_400_000_000)
        let (year, month, day) = civil(days)
        let millis = inDay / 1_000
        func pad(_ number: Int64, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let time =
            "\(pad(millis / 3_600_000, 2)):\(pad(millis / 60_000 % 60, 2)):\(pad(millis / 1_000 % 60, 2)).\(pad(millis % 1_000, 3))"
        return "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))T\(time)Z"
    }

    private static func floorDivide(_ value: Int64, _ by: Int64) -> (Int64, Int64) {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: by)
        return remainder < 0 ? (quotient - 1, remainder + by) : (quotient, remainder)
    }

    /// Days since 1970 as a date (Hinnant, chrono-compatible date algorithms).
    private static func civil(_ days: Int64) -> (Int64, Int64, Int64) {
        let shifted = days + 719_468
        let (era, dayOfEra) = floorDivide(shifted, 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}
