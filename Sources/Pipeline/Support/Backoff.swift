/// How long to wait before the next attempt: doubles from `first` to `most`, with full jitter in its upper half, so that
/// many agents do not come back in step.
package struct Backoff: Equatable, Sendable {
    /// Nanoseconds before the second attempt.
    package let first: Int64
    /// Nanoseconds at most.
    package let most: Int64
    /// Attempts that failed since the last success.
    package private(set) var failures = 0

    package init(first: Int64, most: Int64) {
        self.first = first
        self.most = most
    }

    /// Notes a failure; answers the nanoseconds to wait.
    /// - Parameter random: a number in 0..<1.
    package mutating func next(random: Double) -> Int64 {
        let doublings = min(failures, 30)
        failures += 1
        let full = min(
            most,
            first.multipliedReportingOverflow(by: 1 << Int64(doublings)).overflow ? most : first << Int64(doublings))
        return full / 2 + Int64(Double(full / 2) * random)
    }

    /// Notes a success.
    package mutating func reset() { failures = 0 }
}
