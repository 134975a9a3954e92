import Dates

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
            object.member("ts", .string(ISOTime.milliseconds(microseconds: time)))
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
        var line = "\(paint(ISOTime.milliseconds(microseconds: time), "2")) \(paint(name, code)) \(message)"
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
