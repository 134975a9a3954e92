import Glibc
import Synchronization

/// Standard error, unbuffered.
enum StandardError {
    static func write(_ text: String) { _ = writeAll(text, to: 2) }
}

/// Standard output, unbuffered: a command's lines are seen as they are made, in a pipe too.
enum StandardOutput {
    /// Of the first write that has failed; 0 where none has.
    private static let error = Atomic<Int32>(0)

    static func write(_ text: String) {
        let failed = writeAll(text, to: 1)
        if failed != 0 { _ = error.compareExchange(expected: 0, desired: failed, ordering: .relaxed) }
    }

    /// Why not all of it was written; nil where it was.
    static var failure: String? {
        let error = error.load(ordering: .relaxed)
        return error == 0 ? nil : String(cString: strerror(error))
    }
}

/// Answers 0, or the `errno` of what was not written.
private func writeAll(_ text: String, to descriptor: Int32) -> Int32 {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if written > 0 {
            bytes = bytes.dropFirst(written)
            continue
        }
        switch errno {
        case EINTR: break
        case EAGAIN:
            // Whoever is at the other end has made it non-blocking.
            var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            poll(&entry, 1, -1)
        // As the signal would, which is ignored since other sockets must not end the process.
        case EPIPE where descriptor == 1: _exit(128 + SIGPIPE)
        case let error: return error
        }
    }
    return 0
}
