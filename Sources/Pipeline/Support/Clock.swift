import Glibc

/// Where the time comes from: passed in, so that a test can run an hour in a millisecond.
package struct Clock: Sendable {
    /// Nanoseconds since 1970-01-01 UTC.
    package var wall: @Sendable () -> Int64
    /// Nanoseconds of a clock that never goes back.
    package var monotonic: @Sendable () -> Int64
    /// A number in 0..<1, for jitter.
    package var random: @Sendable () -> Double
    /// Lets so many nanoseconds pass.
    package var pause: @Sendable (Int64) -> Void

    package init(
        wall: @escaping @Sendable () -> Int64, monotonic: @escaping @Sendable () -> Int64,
        random: @escaping @Sendable () -> Double, pause: @escaping @Sendable (Int64) -> Void = Clock.sleep
    ) {
        self.wall = wall
        self.monotonic = monotonic
        self.random = random
        self.pause = pause
    }

    /// The machine's clocks.
    package static let system = Clock(
        wall: { read(CLOCK_REALTIME) }, monotonic: { read(CLOCK_MONOTONIC) }, random: { Double.random(in: 0..<1) })

    package static func sleep(_ nanoseconds: Int64) {
        var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        var rest = timespec()
        // SAFETY: both outlive each call; a signal leaves what is still to pass.
        while nanoseconds > 0, unsafe nanosleep(&time, &rest) != 0, errno == EINTR { time = rest }
    }

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
