import Glibc
import Synchronization

/// Runs `work` on so many threads, which start together, and waits for all: real threads, since tasks may share one.
func onThreads<Value: Sendable>(_ count: Int, _ work: @escaping @Sendable (Int) -> Value) -> [Value] {
    let race = Race(count, work)
    var threads: [pthread_t] = []
    for _ in 0..<count {
        var thread = pthread_t()
        let context = Unmanaged<AnyRace>.passRetained(race).toOpaque()
        let failure = pthread_create(
            &thread, nil,
            { context in
                if let context { Unmanaged<AnyRace>.fromOpaque(context).takeRetainedValue().run() }
                return nil
            }, context)
        precondition(failure == 0)
        threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
    return race.results.withLock { $0 }
}

/// What a thread runs, without the result's type, which a C function cannot know.
private class AnyRace {
    func run() {}
}

// Sound: `count` and `work` are constant and Sendable, everything else is atomic or behind the mutex.
private final class Race<Value: Sendable>: AnyRace, @unchecked Sendable {
    let count: Int
    let work: @Sendable (Int) -> Value
    let arrived = Atomic<Int>(0)
    let results = Mutex<[Value]>([])

    init(_ count: Int, _ work: @escaping @Sendable (Int) -> Value) {
        self.count = count
        self.work = work
    }

    override func run() {
        let number = arrived.add(1, ordering: .sequentiallyConsistent).oldValue
        while arrived.load(ordering: .sequentiallyConsistent) < count { sched_yield() }
        let value = work(number)
        results.withLock { $0.append(value) }
    }
}

/// A millisecond, while one waits for another thread.
func usleepBriefly() { usleep(1000) }
