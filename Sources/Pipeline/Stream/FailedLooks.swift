/// What is said of looks from outside that fail: nothing while they may be those of a server that is started again, once when they
/// go on, and once when they end. Each is counted; while they fail, a loss that the stream does not see goes unnoticed.
struct FailedLooks {
    /// Nanoseconds for which nothing is said.
    static let patience = Int64.seconds(30)

    private var since: Int64?
    private var isTold = false

    /// Notes one that failed.
    /// - Parameter now: nanoseconds of a clock that never goes back.
    /// - Returns: for how many seconds none has succeeded, where that is to be said now.
    mutating func failed(at now: Int64) -> Int64? {
        let first = since ?? now
        since = first
        guard !isTold, now - first >= Self.patience else { return nil }
        isTold = true
        return (now - first) / .seconds(1)
    }

    /// Notes one that succeeded.
    /// - Returns: for how many seconds none had, where it was said that they fail.
    mutating func succeeded(at now: Int64) -> Int64? {
        defer { (since, isTold) = (nil, false) }
        guard isTold, let since else { return nil }
        return (now - since) / .seconds(1)
    }
}
