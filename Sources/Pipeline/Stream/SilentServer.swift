/// When a stream of which nothing comes any more is given up. Every report asks for an answer; but a server that decodes a large
/// transaction may keep silent for minutes, and to begin again would make it begin again too. So the look from outside decides: a slot
/// that this stream does not hold any more, or a server that answers nobody. TCP tells of a lost host, and not of a proxy's dead far side.
package struct SilentServer: Equatable, Sendable {
    /// What the looks from outside have found of this session.
    package struct Looks: Equatable, Sendable {
        /// How many in a row found the slot without this stream.
        package var strange = 0
        /// Since when none has had an answer, monotonic nanoseconds; nil where the last one had.
        package var unansweredSince: Int64?

        package init() {}
    }

    /// Nanoseconds of silence after which looks count that find the slot without us: three reports had no answer.
    private let patience: Int64
    /// Nanoseconds of silence, and of looks that have no answer, after which the connection is taken for dead: by then the server has
    /// given up its side of it.
    private let limit: Int64
    private var heardAt: Int64

    /// - Parameters:
    ///   - senderTimeout: the server's `wal_sender_timeout`, nanoseconds; 0 where it is off.
    ///   - interval: nanoseconds between two reports.
    package init(now: Int64, senderTimeout: Int64, interval: Int64) {
        heardAt = now
        patience = max(.seconds(5), 3 &* interval)
        limit = max(.seconds(120), 2 &* senderTimeout)
    }

    /// Something has come, or nothing was read, for want of room.
    package mutating func heard(at now: Int64) { heardAt = now }

    /// Why the stream is given up; nil: it goes on.
    package func verdict(_ looks: Looks, now: Int64) -> String? {
        let silence = now &- heardAt
        let seconds = silence / .seconds(1)
        if looks.strange >= 2, silence >= patience {
            return "nothing has come for \(seconds) s, and the slot is no longer in use by this stream"
        }
        if let since = looks.unansweredSince, silence >= limit, now &- since >= limit {
            return "nothing has come for \(seconds) s, and the server answers no other connection either"
        }
        return nil
    }
}
