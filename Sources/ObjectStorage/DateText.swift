import Dates

extension CivilDate {
    /// Seconds since 1970 of `2024-02-29T12:00:00Z`, with or without a fraction, which is cut off; nil for anything else.
    static func unixSeconds(iso text: String) -> Int64? {
        guard text.hasSuffix("Z") else { return nil }
        let halves = text.dropLast().split(separator: "T", omittingEmptySubsequences: false)
        guard halves.count == 2 else { return nil }
        let date = halves[0].split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        let clock = halves[1].prefix { $0 != "." }.split(separator: ":", omittingEmptySubsequences: false).map {
            Int($0)
        }
        guard date.count == 3, clock.count == 3, let year = date[0], let month = date[1], let day = date[2],
            let hour = clock[0], let minute = clock[1], let second = clock[2], (1970...9999).contains(year),
            (1...12).contains(month), (1...31).contains(day), (0...23).contains(hour), (0...59).contains(minute),
            (0...60).contains(second)
        else { return nil }
        return Int64(days(year: year, month: month, day: day) * 86_400 + hour * 3600 + minute * 60 + second)
    }
}

/// `Retry-After`: seconds, or a date as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 10.2.3). nil if it is neither.
func parseRetryAfter(_ value: String, now: Int64) -> Duration? {
    let bound: Int64 = 86_400
    if let seconds = Int64(value) { return seconds < 0 ? nil : .seconds(min(seconds, bound)) }
    let parts = value.split(separator: " ")
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    guard parts.count == 6, parts[5] == "GMT", let day = Int(parts[1]), (1...31).contains(day),
        let month = months.firstIndex(of: String(parts[2])), let year = Int(parts[3]), (1970...9999).contains(year)
    else { return nil }
    let clock = parts[4].split(separator: ":").compactMap { Int($0) }
    guard clock.count == 3, clock.allSatisfy({ (0...60).contains($0) }) else { return nil }
    let days = CivilDate.days(year: year, month: month + 1, day: day)
    let time = Int64(days * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2])
    return .seconds(min(max(time - now, 0), bound))
}
