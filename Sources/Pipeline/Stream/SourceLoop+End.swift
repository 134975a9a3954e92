import ChangeData
import Postgres
import Telemetry

/// How the source ends: in order, or why not.
///
/// What the loop that takes rows could take in is not inlined: it cost that a tenth and more of its CPU.
extension SourceLoop {
    /// The end of a replay's range is reached: what is before it is committed, then the end itself as the position. Answers
    /// whether that is done.
    mutating func finish(_ now: Int64) throws(SessionFailure) -> Bool {
        guard let end = ending?.end else { return true }
        handOver(.last)
        if link.durable >= end {
            try drain()
            return true
        }
        link.offerIdle(ReplicationFeedback.Idle(lsn: end, clock: 0))
        link.queue.freed.wait(
            milliseconds: Int(max(0, min(feedback.nextDeadline &- now, .milliseconds(100))) / 1_000_000) + 1)
        return false
    }

    /// Hands over what is whole, waits for its commit, confirms it.
    @inline(never)
    mutating func drain() throws(SessionFailure) {
        handOver(.last)
        link.queue.close()
        var reserve: Int64?
        while !link.isPublisherDone {
            let now = services.clock.monotonic()
            services.state.turned(.stream, now: now)
            if let deadline = services.stop.deadline {
                // The last report to the server takes some of the time; of a short one a quarter.
                reserve = reserve ?? min(.milliseconds(1500), max(0, deadline &- now) / 4)
                if now >= deadline &- (reserve ?? 0) { break }
            } else {
                // Brokers may be away for long.
                try probe(now)
            }
            try report(now)
            link.queue.freed.wait(milliseconds: 50)
        }
        // What it could not commit comes again; why it could not is told.
        let cut: String?
        switch link.failure {
        case .exit(let exit): throw .exit(exit)
        case .unpublishable(let exit, let lsn): throw .unpublishable(exit, lsn)
        case .retry(_, let reason): cut = reason
        case .refused(let exit): cut = exit.message
        case nil where link.isPublisherDone: cut = nil
        case nil, .stopped, .slotInUse, .fallBack: cut = "the time of the stop was up"
        }
        learn()
        let last = feedback.finalReport()
        do throws(PostgresError) {
            try connection.sendStatus(
                written: last.written, flushed: last.flushed, applied: last.flushed,
                now: services.clock.wall() / 1000)
        } catch { throw failure(error) }
        guard let cut else { return services.log.info("drained", ["lsn": .init(feedback.durable)]) }
        services.log.warning(
            "what was received last is not in Kafka, and comes again",
            ["reason": .init(cut), "lsn": .init(feedback.durable)])
    }

    /// Why the agent must end, where the server has said so before anything was read: the publisher only sees that the slot is nobody's.
    mutating func lastWord() -> SessionFailure? {
        guard encoder == nil else { return nil }
        do throws(PostgresError) {
            for _ in 0..<100_000 {
                guard case .frame = try connection.receive() else { return nil }
            }
            return nil
        } catch {
            guard case .exit(let exit) = failure(error) else { return nil }
            return .exit(exit)
        }
    }

    /// What makes the agent end, where that is a transaction's.
    /// - Parameter lsn: of a message, which is a transaction of its own where none is open.
    @inline(never)
    mutating func failure(_ exit: AgentExit, at lsn: LSN?) -> SessionFailure {
        guard exit.code == .unrepresentable, let lsn = encoder?.position?.commitLSN ?? lsn else { return .exit(exit) }
        return .unpublishable(exit, lsn)
    }

    /// Commits what is before a transaction that cannot be published; answers how the session ends then.
    @inline(never)
    mutating func drained(before exit: AgentExit) throws(SessionFailure) -> SessionFailure {
        try drain()
        // What it could not commit is tried again before anything is said.
        return link.failure ?? (link.isPublisherDone && !services.stop.isRequested ? .exit(exit) : .stopped)
    }

    @inline(never)
    mutating func failure(_ error: PostgresError) -> SessionFailure {
        // Where the server refuses a row it does so at the next start before anything is read: nothing would go before it.
        guard error.kind == .undefined else { return StreamFailures.session(error, settings) }
        // PostgreSQL before 18: decoding cannot get past a change that was made while there was no publication.
        let snapshot = services.state.snapshot
        return .exit(
            StartRefusal.undecodable(
                settings, error, stored: snapshot.stored, available: snapshot.serverLSN,
                now: services.clock.wall() / 1000
            ).exit)
    }

    func exit(for error: ChangeDataError) -> AgentExit {
        StreamFailures.exit(error)
    }
}
