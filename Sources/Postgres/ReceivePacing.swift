/// Decides how to wait for the next bytes of a replication stream. Pure: told what happened, answers what to do.
///
/// The walsender makes one `send` a row. A client that sleeps in `poll` on the socket is woken for each of them, which costs it
/// four times the CPU of its work and slows the walsender, which pays for the wake-up. So, while data keeps coming in small
/// pieces, do not look at the socket for a moment and then take all that has come. The first bytes after a silence are always
/// taken at once: latency is added only to a stream that is busy, and at most `pauseNanoseconds`.
package struct ReceivePacing: Sendable, Equatable {
    /// How long not to look at the socket.
    package let pauseNanoseconds: UInt64
    /// Waits in a row that were short and brought little.
    private var shortWaits = 0
    /// Bytes taken since the last wait.
    private var taken = 0

    /// A wait below this is short: data was there or almost there.
    package static let shortWaitNanoseconds: UInt64 = 1_000_000
    /// This many short waits make a stream busy: more than a small transaction needs.
    package static let busyAfter = 4
    /// Where a wait brought as much, the reader is behind and need not wait for more.
    package static let plenty = 128 * 1024

    /// A pacing with its pause, in nanoseconds.
    package init(pauseNanoseconds: UInt64) { self.pauseNanoseconds = pauseNanoseconds }

    /// The pause over TCP, and the longest of all: what it may add to the latency of a busy stream.
    package static let longestPause: UInt64 = 1_000_000

    /// The pause over a unix socket whose sender has a buffer (`SO_SNDBUF`) of `bytes`.
    ///
    /// Each `send` takes 768 bytes of it, however small the row: Linux gives 212,992 unless told otherwise, some 280 rows, a
    /// millisecond of a walsender's. A pause must be over before it is full, and so must be what comes before this thread's turn on
    /// a busy processor. So 150 µs of that millisecond, and of a larger one as much more (`net.core.wmem_default`).
    package static func pauseNanoseconds(unixSocketBuffer bytes: Int) -> UInt64 {
        min(max(UInt64(clamping: bytes) / 1_420 * 1_000, 50_000), longestPause)
    }

    /// Bytes were taken from the stream.
    package mutating func took(_ bytes: Int) { taken += bytes }

    /// A wait begins: how long to stay away from the socket first, in nanoseconds.
    package mutating func begin() -> UInt64 {
        defer { taken = 0 }
        return shortWaits >= Self.busyAfter && taken < Self.plenty ? pauseNanoseconds : 0
    }

    /// The part of a wait that looked at the socket ended after `nanoseconds`, with or without data.
    package mutating func end(nanoseconds: UInt64, readable: Bool) {
        if readable, nanoseconds < Self.shortWaitNanoseconds {
            shortWaits = min(shortWaits + 1, Self.busyAfter)
        } else {
            shortWaits = 0
        }
    }
}
