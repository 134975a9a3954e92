import Glibc
import Synchronization

/// Takes whole lines, one at a time, from any thread.
public final class LogSink: Sendable {
    private let lock = Mutex(())
    private let body: @Sendable (String) -> Void

    /// `body` gets a line with its line end. It is called under a lock: it must not log.
    public init(_ body: @escaping @Sendable (String) -> Void) {
        self.body = body
    }

    /// A descriptor that stays open: standard error is 2. A line that cannot be written is dropped, and so is one that whoever reads
    /// there does not take in time; logging never stops the stream. The next line that goes says how many were dropped.
    public static func descriptor(_ descriptor: Int32) -> LogSink {
        let writer = LineWriter(descriptor)
        return LogSink { writer.write($0) }
    }

    /// Whether a descriptor is a terminal that shows colour (`NO_COLOR` and `TERM=dumb` say no).
    public static func isColourTerminal(_ descriptor: Int32, environment: [String: String]) -> Bool {
        isatty(descriptor) == 1 && environment["NO_COLOR", default: ""].isEmpty && environment["TERM"] != "dumb"
    }

    func write(_ line: String) {
        lock.withLock { _ in body(line) }
    }
}

/// Lets one line through in every period and counts the others: for what may happen thousands of times a second.
public final class LogThrottle: Sendable {
    private struct State {
        var next = Int64.min
        var suppressed = 0
    }

    private let period: Int64
    private let state = Mutex(State())

    /// One line in `period`.
    public init(every period: Duration) {
        let (seconds, attoseconds) = period.components
        // A year at most, so that no sum below can overflow.
        self.period = min(max(seconds, 0), 31_536_000) * 1_000_000 + attoseconds / 1_000_000_000_000
    }

    /// How many were held back since the last line, if this one may go; nil if it is held back. `time` in microseconds.
    public func admit(at time: Int64) -> Int? {
        state.withLock { state in
            // A clock that jumped back by more than a period must not silence us until it has caught up.
            guard time >= state.next || time < state.next - period * 2 else {
                state.suppressed += 1
                return nil
            }
            defer { state = State(next: time + period, suppressed: 0) }
            return state.suppressed
        }
    }
}
