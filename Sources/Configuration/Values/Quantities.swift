/// Sizes in bytes: `0`, `1048576`, `8MiB`, `1GB`.
enum ByteSize {
    static let allowed = "bytes, or a number with B, KiB, MiB, GiB, TiB, KB, MB, GB or TB, such as 128MiB"

    private static let units: [(String, Int)] = [
        ("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
        ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
    ]

    static func parse(_ text: String) -> Int? {
        let (number, rest) = leadingNumber(Substring(text))
        let unit = rest.drop { $0 == " " }
        guard let number, let factor = units.first(where: { $0.0 == unit })?.1 else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }

    /// `8MiB` for 8388608: the largest binary unit that divides.
    static func text(_ bytes: Int) -> String {
        for (unit, factor) in units[1...5].reversed() where bytes >= factor && bytes % factor == 0 && factor > 1 {
            return "\(bytes / factor)\(unit)"
        }
        return "\(bytes)"
    }
}

/// Durations: `0s`, `5ms`, `10m`, `1h30m`.
enum TimeSpan {
    static let allowed = "a number with us, ms, s, m, h or d, such as 5ms, 10m or 1h30m"

    /// From the largest unit to the smallest, the order in which a compound must be written; microseconds each.
    private static let units: [(String, Int64)] = [
        ("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1),
    ]

    static func parse(_ text: String) -> Duration? {
        var rest = Substring(text)
        var micros: Int64 = 0
        var next = 0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let (number, after) = leadingNumber(rest)
            let word = after.prefix { $0.isLetter }
            guard let number, let index = units.firstIndex(where: { $0.0 == word }), index >= next else { return nil }
            let (part, tooLong) = Int64(number).multipliedReportingOverflow(by: units[index].1)
            let (sum, overflow) = micros.addingReportingOverflow(part)
            // A hundred years: whatever is added to it later stays far from the end of Int64.
            guard !tooLong, !overflow, sum <= 36_525 * units[0].1 else { return nil }
            micros = sum
            next = index + 1
            rest = after.dropFirst(word.count)
        }
        return .microseconds(micros)
    }

    /// `10m` for 600 s: the largest unit that divides.
    static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let micros = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        guard micros != 0 else { return "0s" }
        for (unit, factor) in units where micros % factor == 0 { return "\(micros / factor)\(unit)" }
        return "\(micros)us"
    }
}

/// The decimal digits at the start of `text` as a number (nil: none, or too many) and what follows.
private func leadingNumber(_ text: Substring) -> (Int?, Substring) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    return (Int(digits), text.dropFirst(digits.count))
}
