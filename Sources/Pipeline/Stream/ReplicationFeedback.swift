package import ChangeData

/// When to report to PostgreSQL, and what: a decision without a socket or a clock.
///
/// The flush position is what Kafka has committed together with the rows (C4), never what was received. A report goes out
/// on a timer whatever downstream does, at once when the server asks, and soon after the durable position moved.
///
/// With a replay window (C9) the flush position stays behind. It is then told once, when it moves, and 0/0 otherwise, which
/// leaves the slot where it is: a server that shuts down waits until its walsender's receiver has flushed all that was sent,
/// or, where the receiver tells no flush position, written it. Held back and told, it would never let the server go.
package struct ReplicationFeedback: Equatable, Sendable {
    /// Nanoseconds between two reports.
    package let interval: Int64
    /// Nanoseconds for which the server may hear nothing after a report that was due to `refresh`.
    package let silence: Int64
    /// Nanoseconds between a report and the next for the sole reason that the position moved.
    package let eagerness: Int64
    /// Nanoseconds between two idle positions.
    package let idleInterval: Int64
    /// Microseconds after the end of an hour, by the source's clock, when it is told that the hour is over.
    private let grace: Int64
    /// The source's clock, of which all that it had committed was received.
    private var clock: Int64 = 0
    /// The clock of the last position that was handed on.
    private var clockHandedOn: Int64 = 0

    /// End of what was received: the server's own end of what it has sent.
    package private(set) var received = LSN(0)
    /// What Kafka holds, as last told; zero until the position is known.
    package private(set) var durable = LSN(0)
    /// What was durable at the last report.
    private var confirmed = LSN(0)
    private let isHeldBack: Bool
    private var released: LSN
    private var told: LSN
    private var lastReport: Int64
    private var lastIdle: Int64
    private var replyRequested = false
    /// The last position that was handed on: an idle one, or the end of a transaction.
    package private(set) var lastHandedOn = LSN(0)

    /// - Parameters:
    ///   - senderTimeout: the server's `wal_sender_timeout` in milliseconds; 0 where it is off.
    ///   - heldAt: with a replay window, where the slot stands: nothing before it is ever told. Older servers would move the
    ///     slot back.
    ///   - grace: microseconds that an hour is left open past its end (`s3.seal_after`).
    package init(
        senderTimeout: Int, now: Int64, heldAt: LSN? = nil, eagerness: Int64 = .milliseconds(200),
        idleInterval: Int64 = .seconds(10), grace: Int64 = 60_000_000
    ) {
        self.grace = grace
        isHeldBack = heldAt != nil
        released = heldAt ?? LSN(0)
        told = released
        interval = senderTimeout <= 0 ? .seconds(10) : min(.seconds(10), .milliseconds(max(senderTimeout / 3, 1)))
        silence = senderTimeout <= 0 ? .seconds(45) : min(.seconds(45), .milliseconds(max(senderTimeout / 4 * 3, 1)))
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

    /// The replay window ends at `lsn`: the slot may be confirmed so far, and no further than what is durable.
    package mutating func released(upTo lsn: LSN) { released = max(released, min(lsn, durable)) }

    /// The flush position to tell the server; 0/0 leaves the slot where it is.
    private var flush: LSN {
        guard isHeldBack else { return durable }
        return released > told ? released : LSN(0)
    }

    /// The last report of a stream that ends in order.
    package mutating func finalReport() -> Report {
        defer { told = max(told, released) }
        return Report(written: durable, flushed: flush)
    }

    /// The end of a transaction, or an idle position, was handed to Kafka, or is there.
    /// - Parameter clock: the source's clock there; 0 where it is not known.
    package mutating func handedOn(upTo lsn: LSN, at clock: Int64) {
        lastHandedOn = max(lastHandedOn, lsn)
        clockHandedOn = max(clockHandedOn, clock)
    }

    /// Something follows that keeps the source for a while: a report is due now, unless the last is a moment old.
    package mutating func refresh(now: Int64) {
        if now &- lastReport >= interval / 4 { replyRequested = true }
    }

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
        defer { told = max(told, released) }
        return Report(written: durable == LSN(0) ? LSN(0) : max(received, durable), flushed: flush)
    }

    /// At `clock` the server's WAL ended at `lsn`: once that was received, all that it had committed by then was. A keepalive's
    /// own time says nothing of the kind: a walsender that lags behind the WAL sends it too.
    package mutating func knows(_ lsn: LSN, at clock: Int64) {
        if received >= lsn { self.clock = clock }
    }

    /// A position at which nothing was committed that is ours, and the source's clock there.
    package struct Idle: Equatable, Sendable {
        package var lsn: LSN
        package var clock: Int64

        package init(lsn: LSN, clock: Int64) {
            self.lsn = lsn
            self.clock = clock
        }
    }

    /// The idle position to commit, if all that was received is durable, the last such was long enough ago, and the server has
    /// moved on since, or an hour has passed that nobody was told of.
    /// - Parameter quiet: no transaction is being received and none waits for Kafka.
    package mutating func idleDue(now: Int64, quiet: Bool) -> Idle? {
        guard quiet, durable != LSN(0), now &- lastIdle >= idleInterval else { return nil }
        let hasMoved = received > durable && received > lastHandedOn
        let hour = SourceHour(ofMicroseconds: clock &- grace)
        guard hasMoved || hour > SourceHour(ofMicroseconds: clockHandedOn &- grace) else { return nil }
        lastIdle = now
        handedOn(upTo: received, at: clock)
        return Idle(lsn: max(received, durable), clock: clock)
    }

    /// Whether the server still waits for a confirmation: then a shutdown would wait with it. What the replay window holds back
    /// does not count: no confirmation of it was ever promised.
    package var confirmationLags: Bool { received > confirmed }

    /// Monotonic nanoseconds by which `reportDue` must be asked again.
    package var nextDeadline: Int64 {
        durable > confirmed ? min(lastReport &+ eagerness, lastReport &+ interval) : lastReport &+ interval
    }
}
