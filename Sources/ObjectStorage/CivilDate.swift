/// A date of the Gregorian calendar, for any day (H. Hinnant, "chrono-compatible low-level date algorithms").
struct CivilDate: Equatable {
    let year: Int
    let month: Int
    let day: Int

    init(daysSince1970 days: Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Days since 1970-01-01 of a date that need not exist; `month` is 1...12.
    static func days(year: Int, month: Int, day: Int) -> Int {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}

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
