/// How long to wait before an attempt is repeated: exponential, with jitter. Pure: chance is an argument, time a result.
public struct RetryPolicy: Sendable, Equatable {
    /// The bound of the first wait.
    public var base: Duration
    /// The bound of every wait.
    public var cap: Duration
    /// Attempts in all, the first included; nil is for ever.
    public var maxAttempts: Int?

    /// From 100 ms to 20 s, for ever.
    public init(base: Duration = .milliseconds(100), cap: Duration = .seconds(20), maxAttempts: Int? = nil) {
        self.base = base
        self.cap = cap
        self.maxAttempts = maxAttempts
    }

    /// The wait after attempt number `attempt` (the first is 1) has failed: between half and all of `base * 2^(attempt-1)`,
    /// bounded by `cap`; at least what the store asked for in `Retry-After`, of which three times `cap` are believed.
    /// - Parameter random: from 0 up to 1, uniformly.
    /// - Returns: nil when no attempt is left.
    public func delay(afterAttempt attempt: Int, random: Double, retryAfter: Duration? = nil) -> Duration? {
        if let maxAttempts, attempt >= maxAttempts { return nil }
        // Past 2^20 every base worth having has met the cap: no overflow, whatever the attempt's number.
        let doublings = min(max(attempt, 1) - 1, 20)
        let bound = min(cap, base * (1 << doublings))
        let share = random.isFinite ? min(max(random, 0), 1) : 1
        let wait = bound * (0.5 + share / 2)
        guard let retryAfter else { return wait }
        return max(wait, min(retryAfter, cap * 3))
    }
}
