import Dispatch
import Glibc
import Pipeline
import Synchronization

/// SIGTERM and SIGINT: the first asks for a drain, the second ends the process at once.
enum Signals {
    /// Keep the answer alive: a source that is let go is cancelled.
    static func handle(stop: StopSignal, timeout: Int64, clock: Clock, told: @escaping @Sendable () -> Void)
        -> [any DispatchSourceSignal]
    {
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
                // Last, since whoever reads the log may not.
                told()
            }
            source.resume()
            return source
        }
    }
}
