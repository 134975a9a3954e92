import Glibc
import Synchronization

/// Writes lines to a descriptor that may have nobody who reads: a pipe to a log driver that hangs is full, and a write would wait for ever,
/// with whatever thread has something to say.
final class LineWriter: Sendable {
    private struct State {
        /// Lines that were dropped since one went.
        var dropped = 0
        /// The last one went in part: the next begins anew.
        var isCut = false
    }

    /// What a pipe that is ready takes without waiting (PIPE_BUF; pipe(7)).
    private static let piece = 4096
    /// How long a reader that is only slow is waited for, milliseconds; not again before it has taken something.
    private static let patience: Int32 = 100

    private let descriptor: Int32
    private let state = Mutex(State())

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// - Parameter line: with its line end.
    func write(_ line: String) {
        state.withLock { state in
            var text = (state.isCut ? "\n" : "") + Self.notice(state.dropped, like: line) + line
            let patience = state.dropped > 0 ? 0 : Self.patience
            let written = text.withUTF8 { send(UnsafeRawBufferPointer($0), patience) }
            if written == text.utf8.count { return state = State() }
            state.dropped += 1
            if written > 0 { state.isCut = true }
        }
    }

    /// What was dropped, in the form of the lines.
    private static func notice(_ dropped: Int, like line: String) -> String {
        guard dropped > 0 else { return "" }
        let text = "\(dropped) lines were not taken in time, and are dropped"
        return line.hasPrefix("{") ? "{\"level\":\"warning\",\"message\":\"\(text)\"}\n" : "(\(text))\n"
    }

    /// How many bytes went.
    private func send(_ bytes: UnsafeRawBufferPointer, _ patience: Int32) -> Int {
        var sent = 0
        while sent < bytes.count {
            var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let answer = poll(&ready, 1, patience)
            if answer < 0, errno == EINTR { continue }
            guard answer > 0 else { return sent }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[sent..<min(sent + Self.piece, bytes.count)])
            let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return sent }
            sent += count
        }
        return sent
    }
}
