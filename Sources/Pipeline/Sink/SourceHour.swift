import Dates

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

    /// 2014, with PostgreSQL 9.4: no row was decoded before, whatever commit time a client has set.
    package static let beginning = SourceHour(ofMicroseconds: 1_388_534_400_000_000)

    /// Its begin, microseconds since 1970.
    package var start: Int64 { number * 3_600_000_000 }
    /// The hour after it.
    package var next: SourceHour { SourceHour(number + 1) }

    /// The hour of a key below `topic`; nil for one that is in no hour's folder.
    package init?(key: String, topic: String) {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 6, parts[0] == topic else { return nil }
        func number(_ index: Int, _ name: String) -> Substring? {
            parts[index].hasPrefix(name + "=") ? parts[index].dropFirst(name.count + 1) : nil
        }
        guard let year = number(1, "year"), let month = number(2, "month"), let day = number(3, "day"),
            let hour = number(4, "hour"),
            let time = ISOTime.microseconds("\(year)-\(month)-\(day)T\(hour):00:00Z")
        else { return nil }
        self.init(ofMicroseconds: time)
    }

    package static func < (one: SourceHour, other: SourceHour) -> Bool { one.number < other.number }

    /// `year=2024/month=02/day=29/hour=13`
    package var path: String {
        let hour = ((number % 24) + 24) % 24
        let date = CivilDate(daysSince1970: Int((number - hour) / 24))
        return
            "year=\(padded(date.year, 4))/month=\(padded(date.month, 2))/day=\(padded(date.day, 2))/hour=\(padded(hour, 2))"
    }
}
