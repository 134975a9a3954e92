import CLinux
import Glibc

/// A flag that a thread can wait for beside a socket, in one `poll`.
///
/// An eventfd rather than a condition variable: the source thread waits for PostgreSQL's socket and for room in the
/// queue at the same time, and each wait has a deadline.
package final class Wakeup: Sendable {
    /// Readable while the flag is raised.
    package let descriptor: Int32

    private init(_ descriptor: Int32) { self.descriptor = descriptor }

    package convenience init() {
        let opened = Self.open()
        // Nothing can wait without one.
        if opened < 0 { endForWant("no file descriptor is left: raise the limit of open files (ulimit -n)") }
        self.init(opened)
    }

    /// nil where no file descriptor is left.
    static func ifPossible() -> Wakeup? {
        let opened = open()
        return opened < 0 ? nil : Wakeup(opened)
    }

    private static func open() -> Int32 { eventfd(0, Int32(O_NONBLOCK | O_CLOEXEC)) }

    deinit { close(descriptor) }

    /// Raises the flag. May be called from any thread, and from a signal handler.
    package func signal() { _ = eventfd_write(descriptor, 1) }

    /// Lowers the flag.
    package func clear() {
        var count: eventfd_t = 0
        // SAFETY: `count` outlives the call.
        _ = unsafe eventfd_read(descriptor, &count)
    }

    /// Waits until the flag is raised or `milliseconds` have passed, and lowers it.
    @discardableResult
    package func wait(milliseconds: Int) -> Bool {
        var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        // SAFETY: `watched` outlives the call.
        let ready = unsafe poll(&watched, 1, Int32(clamping: max(0, milliseconds)))
        if ready > 0 { clear() }
        return ready > 0
    }
}
