import Dispatch
import Glibc
import Pipeline
import Synchronization

/// SIGTERM and SIGINT: the first asks for a drain, the second ends the process at once.
enum Signals {
    /// How long after its time a stop may last, nanoseconds: for the last words to servers.
    private static let grace: Int64 = .seconds(1)

    /// Keep the answer alive: a source that is let go is cancelled.
    /// - Parameters:
    ///   - timeout: what a stop may take, nanoseconds.
    ///   - told: the first signal has come.
    ///   - expired: the process is still there when that time is up, in a call to servers that do not answer; it ends at once with
    ///     the answer's status.
    static func handle(
        stop: StopSignal, timeout: Int64, clock: Clock, told: @escaping @Sendable () -> Void,
        expired: @escaping @Sendable (_ signal: Int32) -> Int32
    ) -> [any DispatchSourceSignal] {
        // A file that has reached the process's limit (RLIMIT_FSIZE) is an error of the call.
        signal(SIGXFSZ, SIG_IGN)
        let queue = DispatchQueue(label: "signals")
        // Not whether a stop is under way: the process may have begun one by itself, which takes its time.
        let isTold = Atomic(false)
        return [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler {
                if isTold.exchange(true, ordering: .relaxed) { _exit(128 + number) }
                stop.request(deadline: clock.monotonic() &+ timeout)
                queue.asyncAfter(deadline: .now() + .nanoseconds(Int(timeout &+ grace))) { _exit(expired(number)) }
                // Last, since whoever reads the log may not.
                told()
            }
            source.resume()
            return source
        }
    }
}
