// A program with faults to choose from, and one without: ops/sanitize runs each before the tests, and goes on only if
// every fault is found and the clean run is clean. So no option and no preloaded library has made a sanitizer blind.

import Glibc
import Synchronization

/// Counts under a lock, and beside it without.
private final class Counters: Sendable {
    let guarded = Mutex([0])
    // Not sound, and that is what it is for: the race that must be found.
    nonisolated(unsafe) var bare = [0]
}

private func onThreads(_ count: Int, _ body: @escaping @Sendable () -> Void) {
    final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    let handles = (0..<count).map { _ in
        var handle = pthread_t()
        let box = Unmanaged.passRetained(Body(body)).toOpaque()
        pthread_create(
            &handle, nil,
            { argument in
                if let argument { Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, box)
        return handle
    }
    for handle in handles { pthread_join(handle, nil) }
}

@main
enum Planted {
    static func main() {
        let counters = Counters()
        switch CommandLine.arguments.dropFirst().first {
        case "race":
            onThreads(4) { for _ in 0..<1000 { counters.bare[0] += 1 } }
        case "race-beside-a-lock":
            onThreads(4) {
                for _ in 0..<1000 {
                    counters.guarded.withLock { $0[0] += 1 }
                    counters.bare[0] += 1
                }
            }
        case "leak":
            // In a frame of its own, so that nothing on the stack still points there.
            onThreads(1) { _ = strdup("lost") }
        case "overflow":
            let text = UnsafeMutablePointer<UInt8>.allocate(capacity: 8)
            text.initialize(repeating: 1, count: 8)
            print(text[CommandLine.arguments.count + 6])
            text.deallocate()
        default:
            // Threads that meet at the lock, so that its slow paths are taken.
            onThreads(4) { for _ in 0..<20_000 { counters.guarded.withLock { $0[0] += 1 } } }
            onThreads(4) {
                for _ in 0..<20_000 { if counters.guarded.withLockIfAvailable({ $0[0] += 1 }) == nil { sched_yield() } }
            }
            print(counters.guarded.withLock { $0[0] } >= 80_000 ? "clean" : "wrong")
        }
    }
}
