import CPostgres
import Glibc

/// A point of the monotonic clock by which a call has returned.
struct Deadline: Sendable {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    let instant: UInt64

    init(after duration: Duration) {
        instant = Self.now() &+ Self.nanoseconds(duration)
    }

    private init(instant: UInt64) { self.instant = instant }

    /// The earlier of two.
    func capped(after duration: Duration) -> Deadline {
        Deadline(instant: min(instant, Self.now() &+ Self.nanoseconds(duration)))
    }

    /// Nanoseconds left; 0 when it has passed.
    var remaining: UInt64 {
        let now = Self.now()
        return instant > now ? instant - now : 0
    }

    /// What is left, as a duration.
    var remainingDuration: Duration { .nanoseconds(Int64(clamping: remaining)) }

    var hasPassed: Bool { remaining == 0 }

    /// Nanoseconds of the monotonic clock.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// A duration in nanoseconds, at least 0 and at most a hundred years.
    private static func nanoseconds(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        return UInt64(min(seconds, 3_155_760_000)) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    }
}

/// What `ppoll` said of the one or two descriptors that a connection waits for.
struct Readiness: Sendable {
    /// Events of the socket; an error or hang-up counts as readable, so that the next read reports it.
    var socketReadable = false
    var socketWritable = false
    var wakeup = false

    /// Waits at most `nanoseconds`. A descriptor of -1 is not waited for.
    static func wait(socket: Int32, write: Bool, wakeup: Int32, nanoseconds: UInt64) -> Readiness {
        let events = Int16(POLLIN) | (write ? Int16(POLLOUT) : 0)
        // `ppoll` ignores an entry whose descriptor is negative.
        var entries = (
            pollfd(fd: socket, events: events, revents: 0), pollfd(fd: wakeup, events: Int16(POLLIN), revents: 0)
        )
        var timeout = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        let count = withUnsafeMutableBytes(of: &entries) {
            ppoll($0.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, &timeout, nil)
        }
        // An interrupted wait (EINTR) is an early time-out: every caller looks at its deadline again.
        guard count > 0 else { return Readiness() }
        let socketEvents = entries.0.revents
        return Readiness(
            socketReadable: socketEvents & ~Int16(POLLOUT) != 0, socketWritable: socketEvents & Int16(POLLOUT) != 0,
            wakeup: entries.1.revents != 0)
    }
}
