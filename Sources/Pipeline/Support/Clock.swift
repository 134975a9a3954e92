import Glibc

/// Where the time comes from: passed in, so that a test can run an hour in a millisecond.
package struct Clock: Sendable {
    /// Nanoseconds since 1970-01-01 UTC.
    package var wall: @Sendable () -> Int64
    /// Nanoseconds of a clock that never goes back.
    package var monotonic: @Sendable () -> Int64
    /// A number in 0..<1, for jitter.
    package var random: @Sendable () -> Double

    package init(
        wall: @escaping @Sendable () -> Int64, monotonic: @escaping @Sendable () -> Int64,
        random: @escaping @Sendable () -> Double
    ) {
        self.wall = wall
        self.monotonic = monotonic
        self.random = random
    }

    /// The machine's clocks.
    package static let system = Clock(
        wall: { read(CLOCK_REALTIME) }, monotonic: { read(CLOCK_MONOTONIC) }, random: { Double.random(in: 0..<1) })

    private static func read(_ clock: clockid_t) -> Int64 {
        var now = timespec()
        // SAFETY: `now` outlives the call.
        _ = unsafe clock_gettime(clock, &now)
        return Int64(now.tv_sec) &* 1_000_000_000 &+ Int64(now.tv_nsec)
    }
}

extension Int64 {
    /// A span of time in nanoseconds, the unit of every clock here.
    package static func milliseconds(_ count: Int) -> Int64 { Int64(count) * 1_000_000 }
    /// A span of time in nanoseconds, the unit of every clock here.
    package static func seconds(_ count: Int) -> Int64 { Int64(count) * 1_000_000_000 }
}
