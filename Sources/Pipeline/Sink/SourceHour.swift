/// An hour of the source's clock, UTC, by which objects are laid out.
package struct SourceHour: Hashable, Comparable, Sendable {
    /// Hours since 1970-01-01 00:00 UTC.
    package var number: Int64

    package init(_ number: Int64) { self.number = number }

    /// The hour of a commit time in microseconds since 1970.
    package init(ofMicroseconds time: Int64) {
        let length: Int64 = 3_600_000_000
        number = time / length - (time % length < 0 ? 1 : 0)
    }

    package static func < (one: SourceHour, other: SourceHour) -> Bool { one.number < other.number }

    /// `year=2024/month=02/day=29/hour=13`
    package var path: String {
        let hour = ((number % 24) + 24) % 24
        let date = ISOTime.civil(days: (number - hour) / 24)
        return
            "year=\(padded(date.year, 4))/month=\(padded(date.month, 2))/day=\(padded(date.day, 2))/hour=\(padded(hour, 2))"
    }
}

/// A number in decimal, with zeros before it.
func padded(_ number: Int64, _ width: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
}
