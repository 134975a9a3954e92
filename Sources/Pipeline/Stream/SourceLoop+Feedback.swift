import ChangeData
import Postgres
import Telemetry

/// What the source tells the server, and learns of it beside the stream.
extension SourceLoop {
    /// Learns what Kafka holds, and what of it the replay window lets go.
    mutating func learn() {
        guard history == nil else { return }
        let (durable, marks) = link.committed
        feedback.durable(upTo: durable)
        guard let window = settings.window, durable != LSN(0) else { return }
        if let lsn = window.release(durable: durable, marks: marks, now: services.clock.wall() / 1000) {
            feedback.released(upTo: lsn)
        }
    }

    mutating func report(_ now: Int64) throws(SessionFailure) {
        learn()
        guard let report = feedback.reportDue(now: now) else { return }
        do throws(PostgresError) {
            Failpoint.hit(.beforeConfirm)
            // A reply is asked for, so that an idle stream learns how far the server is.
            try connection.sendStatus(
                written: report.written, flushed: report.flushed, applied: report.flushed,
                now: services.clock.wall() / 1000, replyRequested: true)
            Failpoint.hit(.afterConfirm)
        } catch { throw failure(error) }
        services.state.update { snapshot in
            snapshot.confirmedLSN = max(snapshot.confirmedLSN, report.flushed)
            snapshot.serverLSN = max(snapshot.serverLSN, feedback.received)
            snapshot.received(feedback.received)
            snapshot.bufferedBytes = link.queue.bytesOut
        }
    }

    /// The catalog is asked next, by this thread: the server has heard of us just now, and the questions end before it gives us up.
    @inline(never)
    mutating func askNext() throws(SessionFailure) {
        let now = services.clock.monotonic()
        feedback.refresh(now: now)
        try report(now)
        tables.begin(until: now &+ feedback.silence)
    }

    /// On an idle publication in a busy database the position moves too, first in Kafka, then in the slot (C4).
    mutating func offerIdle(_ now: Int64) {
        guard ending == nil, replay == nil, encoder?.isInTransaction == false,
            chunk.map({ $0.recordCount + $0.boundaryCount == 0 }) ?? true
        else { return }
        let seen = services.state.serverSeen
        feedback.knows(seen.lsn, at: seen.clock)
        let quiet = link.durable >= feedback.lastHandedOn && !link.queue.hasReady
        guard let idle = feedback.idleDue(now: now, quiet: quiet) else { return }
        link.offerIdle(idle)
        if idle.clock > 0 { encoder?.passes(idle.clock) }
    }

    /// Ends the session where the server's side of it is gone, and nothing says so.
    func listen(_ now: Int64) throws(SessionFailure) {
        guard let reason = silence.verdict(services.state.looks, now: now) else { return }
        throw .retry(component: .postgres, reason: reason)
    }

    /// A walsender waits for its receiver's flush, and the server's shutdown with it: a server that shuts down is let go. Before the
    /// position is known nothing is read and nothing confirmed, for as long as that takes.
    mutating func probe(_ now: Int64) throws(SessionFailure) {
        guard shutdownProbe.isDue(now: now, lags: encoder == nil || feedback.confirmationLags) else { return }
        do throws(PostgresError) {
            _ = try PostgresConnection(
                connecting: settings.postgres, timeout: .seconds(2),
                limit: .nanoseconds(min(.seconds(5), feedback.silence)))
            shutdownProbe.answered()
        } catch  where error.kind == .shuttingDown {
            throw .retry(component: .postgres, reason: "the server is shutting down")
        } catch  where error.kind == .transient && error.sqlState == nil {
            let standing = ShutdownProbe.Standing(
                received: feedback.received, durable: feedback.durable, position: encoder?.position)
            guard shutdownProbe.refused(at: standing) else { return }
            throw .retry(
                component: .postgres,
                reason: "the server takes no connection, and nothing moves: it may be shutting down (\(error))")
        } catch {
            // The stream's own connection will tell.
        }
    }
}
