import CLinux
import Glibc
import Synchronization

/// A thread that runs one closure; blocking C calls live on threads of their own, never on the cooperative pool.
package final class WorkerThread: Sendable {
    private let done: Wakeup
    private let finished = Atomic<Bool>(false)

    private init(_ done: Wakeup) { self.done = done }

    /// Starts `body` on a new thread, named for `ps` and `perf` (15 characters at most are shown).
    package convenience init(name: String, _ body: @escaping @Sendable () -> Void) {
        self.init(Wakeup())
        if !start(name, body) { endForWant("no thread is left: raise the limit of processes (ulimit -u)") }
    }

    /// The same; nil, and nothing is run, where the system has no thread left.
    package static func ifPossible(name: String, _ body: @escaping @Sendable () -> Void) -> WorkerThread? {
        guard let done = Wakeup.ifPossible() else { return nil }
        let thread = WorkerThread(done)
        return thread.start(name, body) ? thread : nil
    }

    private func start(_ name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
        let start = Start(name: name) { [done, self] in
            body()
            self.finished.store(true, ordering: .releasing)
            done.signal()
        }
        // SAFETY: the retained box is released exactly once, by the new thread; attributes and handle outlive the calls.
        var handle = pthread_t()
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        unsafe pthread_attr_setstacksize(&attributes, 1 << 20)
        let box = unsafe Unmanaged.passRetained(start).toOpaque()
        let failed = unsafe pthread_create(
            &handle, &attributes,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                // SAFETY: prctl copies the name at once.
                unsafe String(start.name.prefix(15)).withCString { unsafe sluice_name_thread($0) }
                start.body()
                return nil
            }, box)
        unsafe pthread_attr_destroy(&attributes)
        // SAFETY: no thread has it.
        if failed != 0 { unsafe Unmanaged<Start>.fromOpaque(box).release() }
        return failed == 0
    }

    /// Waits for the end of the closure; false when `milliseconds` passed before.
    package func join(milliseconds: Int) -> Bool {
        if finished.load(ordering: .acquiring) { return true }
        _ = done.wait(milliseconds: milliseconds)
        return finished.load(ordering: .acquiring)
    }

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}
