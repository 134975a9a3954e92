package import ChangeData

/// When to report to PostgreSQL, and what: a decision without a socket or a clock.
///
/// The flush position is what Kafka has committed together with the rows (C4), never what was received. A report goes out
/// on a timer whatever downstream does, at once when the server asks, and soon after the durable position moved.
package struct ReplicationFeedback: Equatable, Sendable {
    /// Nanoseconds between two reports.
    package let interval: Int64
    /// Nanoseconds between a report and the next for the sole reason that the position moved.
    package let eagerness: Int64
    /// Nanoseconds between two idle positions.
    package let idleInterval: Int64

    /// End of what was received: the server's own end of what it has sent.
    package private(set) var received = LSN(0)
    /// What Kafka holds, as last told; zero until the position is known.
    package private(set) var durable = LSN(0)
    private var confirmed = LSN(0)
    private var lastReport: Int64
    private var lastIdle: Int64
    private var replyRequested = false
    /// The last position that was handed on: an idle one, or the end of a transaction.
    package private(set) var lastHandedOn = LSN(0)

    /// - Parameter senderTimeout: the server's `wal_sender_timeout` in milliseconds; 0 where it is off.
    package init(
        senderTimeout: Int, now: Int64, eagerness: Int64 = .milliseconds(200), idleInterval: Int64 = .seconds(10)
    ) {
        interval = senderTimeout <= 0 ? .seconds(10) : min(.seconds(10), .milliseconds(max(senderTimeout / 3, 1)))
        self.eagerness = eagerness
        self.idleInterval = idleInterval
        lastReport = now
        lastIdle = now
    }

    /// A keepalive, or the end of a transaction, says how far the server has sent.
    package mutating func received(upTo lsn: LSN, replyRequested: Bool = false) {
        received = max(received, lsn)
        if replyRequested { self.replyRequested = true }
    }

    /// Kafka has committed up to `lsn`.
    package mutating func durable(upTo lsn: LSN) { durable = max(durable, lsn) }

    /// The end of a transaction, or an idle position, was handed to Kafka.
    package mutating func handedOn(upTo lsn: LSN) { lastHandedOn = max(lastHandedOn, lsn) }

    package struct Report: Equatable, Sendable {
        package var written: LSN
        package var flushed: LSN
    }

    /// The report that is due, if one is.
    package mutating func reportDue(now: Int64) -> Report? {
        let moved = durable > confirmed && now &- lastReport >= eagerness
        guard replyRequested || moved || now &- lastReport >= interval else { return nil }
        replyRequested = false
        lastReport = now
        confirmed = durable
        // Until the position is known nothing is confirmed: 0/0 leaves the slot where it is.
        return Report(written: durable == LSN(0) ? LSN(0) : max(received, durable), flushed: durable)
    }

    /// The idle position to commit, if all that was received is durable, the server has moved on since, and the last such
    /// was long enough ago.
    /// - Parameter quiet: no transaction is being received and none waits for Kafka.
    package mutating func idleDue(now: Int64, quiet: Bool) -> LSN? {
        guard quiet, durable != LSN(0), received > durable, received > lastHandedOn, now &- lastIdle >= idleInterval
        else { return nil }
        lastIdle = now
        lastHandedOn = received
        return received
    }

    /// Whether the server still waits for a confirmation: then a shutdown would wait with it.
    package var confirmationLags: Bool { received > confirmed }

    /// Monotonic nanoseconds by which `reportDue` must be asked again.
    package var nextDeadline: Int64 {
        durable > confirmed ? min(lastReport &+ eagerness, lastReport &+ interval) : lastReport &+ interval
    }
}
