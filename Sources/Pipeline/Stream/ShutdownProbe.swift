/// When to look whether the server is shutting down: every five seconds while it waits for a confirmation of ours.
struct ShutdownProbe: Equatable {
    private static let interval: Int64 = .seconds(5)
    private var last: Int64

    init(now: Int64) { last = now }

    mutating func isDue(now: Int64, lags: Bool) -> Bool {
        guard lags else {
            last = now
            return false
        }
        guard now &- last >= Self.interval else { return false }
        last = now
        return true
    }
}
