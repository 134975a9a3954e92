import Dates

/// What one call of `sluice` asks for.
public enum Command: Sendable, Equatable {
    /// `sluice init`: make topics, publication and slot. `acceptGap`: take a new position after a loss.
    case initialize(config: String?, dryRun: Bool, acceptGap: Bool)
    /// `sluice check`
    case check(config: String?)
    /// `sluice run`
    case run(config: String?, purpose: Configuration.Purpose)
    /// `sluice status`
    case status(config: String?, json: Bool)
    /// `sluice verify`; no tables: all of them.
    case verify(config: String?, tables: [ConfiguredTable], json: Bool)
    /// `sluice hours`: which hours are complete.
    case hours(config: String?, HoursOptions)
    /// `sluice replay`
    case replay(config: String?, ReplayOptions)
    /// `sluice drop`
    case drop(config: String?, dryRun: Bool)
    /// `--help`: print the text to standard output, exit 0.
    case help(String)
    /// `--version`: print name and version, exit 0.
    case version

    /// Which hours `sluice hours` is to show.
    public struct HoursOptions: Sendable, Equatable {
        /// `--topic`; nil: all.
        public let topic: String?
        /// `--hour`: a time in the one hour that is asked for, microseconds since 1970, UTC; nil: the last ones.
        public let hour: Int64?
        /// `--last`: how many hours back.
        public let last: Int
        /// `--json`
        public let json: Bool
    }

    /// What `sluice replay` is to replay.
    public struct ReplayOptions: Sendable, Equatable {
        /// Where it starts or ends.
        public enum Bound: Sendable, Equatable {
            /// `--from-lsn`, `--to-lsn`: a position in the WAL.
            case lsn(UInt64)
            /// `--from-time`, `--to-time`: microseconds since 1970, UTC.
            case time(Int64)
        }
        /// Where it starts.
        public let from: Bound
        /// Where it ends, exclusive; nil: where the live stream stands.
        public let to: Bound?
        /// `--topic-prefix`: put before the name of every topic.
        public let topicPrefix: String
        /// `--dry-run`: only count.
        public let dryRun: Bool
    }
}

/// A command line that asks for nothing sluice can do. Exit code 64.
public struct UsageError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What is wrong.
    public let message: String
    /// What to type to learn more: `sluice replay --help`.
    public let hint: String

    /// Two lines for standard error.
    public var description: String { "sluice: \(message)\nTry '\(hint)'." }
}

/// A log sequence number as PostgreSQL writes it.
enum LSNText {
    /// `16/B374D848` as one number; nil for anything else.
    static func parse(_ text: String) -> UInt64? {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2,
            halves.allSatisfy({ (1...8).contains($0.utf8.count) && $0.utf8.allSatisfy(isHexDigit) }),
            let high = UInt32(halves[0], radix: 16), let low = UInt32(halves[1], radix: 16)
        else { return nil }
        return UInt64(high) << 32 | UInt64(low)
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }
}

/// ISO 8601 times with a zone: `2026-11-25T19:40:00Z`, `2026-11-25 16:40:00.5-03:00`.
enum TimeText {
    static let allowed = "a time with its zone, such as 2026-11-25T19:40:00Z"

    /// Microseconds since 1970, UTC; nil for anything else, a day that the month does not have included.
    static func parse(_ text: String) -> Int64? {
        var scanner = Scanner(rest: Array(text.utf8)[...])
        guard let year = scanner.number(4), scanner.take("-"), let month = scanner.number(2), (1...12).contains(month),
            scanner.take("-"), let day = scanner.number(2), (1...days(month, of: year)).contains(day),
            scanner.take("T") || scanner.take(" "),
            let hour = scanner.number(2), hour < 24, scanner.take(":"), let minute = scanner.number(2), minute < 60
        else { return nil }
        var second: Int64 = 0
        var fraction: Int64 = 0
        if scanner.take(":") {
            guard let value = scanner.number(2), value < 60 else { return nil }
            second = value
            if scanner.take(".") {
                guard let value = scanner.fraction() else { return nil }
                fraction = value
            }
        }
        guard let offset = scanner.zone(), scanner.rest.isEmpty else { return nil }
        let date = Int64(CivilDate.days(year: Int(year), month: Int(month), day: Int(day)))
        let seconds = date * 86_400 + hour * 3_600 + minute * 60 + second - offset
        return seconds * 1_000_000 + fraction
    }

    private static func days(_ month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private struct Scanner {
        var rest: ArraySlice<UInt8>

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard let first = rest.first, UInt32(first) == character.value else { return false }
            rest.removeFirst()
            return true
        }

        mutating func number(_ digits: Int) -> Int64? {
            let text = rest.prefix(digits)
            guard text.count == digits, text.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            rest = rest.dropFirst(digits)
            return text.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
        }

        /// One to six digits as microseconds.
        mutating func fraction() -> Int64? {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard (1...6).contains(digits.count) else { return nil }
            rest = rest.dropFirst(digits.count)
            let padded = Array(digits) + Array(repeating: 0x30, count: 6 - digits.count)
            return padded.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
        }

        /// `Z`, `+03`, `-0300` or `+03:00` in seconds east.
        mutating func zone() -> Int64? {
            if take("Z") { return 0 }
            let sign: Int64
            if take("+") { sign = 1 } else if take("-") { sign = -1 } else { return nil }
            guard let hours = number(2), hours < 24 else { return nil }
            let hasColon = take(":")
            guard hasColon || !rest.isEmpty else { return sign * hours * 3_600 }
            guard let minutes = number(2), minutes < 60 else { return nil }
            return sign * (hours * 3_600 + minutes * 60)
        }
    }
}
