import ChangeData
import Kafka
import Telemetry

/// Kafka transactions: begun with their first record, committed with the position.
extension Publisher {
    /// Opens a transaction unless one is open.
    /// - Parameter forRecords: others will follow before the commit. The transaction then begins with the position that holds
    ///   so far: the coordinator learns of its partition in the same request as of theirs, which spares the commit a round trip.
    ///   The last position of a transaction is the one that counts.
    mutating func begin(forRecords: Bool) throws(KafkaError) {
        guard let producer, !producer.isInTransaction else { return }
        let wait = pace.wait(now: services.clock.monotonic())
        if wait > 0 { services.clock.pause(wait) }
        pace.begins(now: services.clock.monotonic())
        try producer.begin()
        if forRecords {
            try ProgressStore.produce(stored, for: settings.progressKey, to: topics.progress, by: producer)
        }
    }

    /// A PostgreSQL transaction ends with the records produced so far.
    mutating func pass(_ transaction: Transaction) {
        open.reachedBoundary()
        pending.lsn = max(pending.lsn, transaction.endLSN)
        // Not of a message outside transactions, which the server does not send again.
        if transaction.xid != 0 {
            pending.commitLSN = transaction.commitLSN
            pending.commitTime = transaction.commitTime
            // Of those before it, which none says how far they went, none comes again either.
            if pending.messages == nil { pending.messages = transaction.commitLSN }
        } else {
            pending.messages = transaction.endLSN
        }
        pending.clock = max(pending.clock, transaction.clock)
        pending.ordinal = 0
        pending.splitPart = 0
        counts.passed(transaction)
    }

    /// Commits the open transaction in the middle of a PostgreSQL transaction that is past the bounds of `split`.
    /// Only between two changes: a chunk never ends inside one.
    mutating func split(isPublishing: Bool) throws(SessionFailure) {
        guard let at = produced else { return }
        let before = pending
        // `lsn` stays: replication restarts before the transaction and reads it again.
        pending.commitLSN = at.position.commitLSN
        pending.ordinal = at.position.ordinal
        pending.commitTime = at.commitTime
        pending.splitPart = max(before.splitPart, 1) + 1
        try commit(isPublishing: isPublishing)
        services.log.info(
            "split a transaction", ["commit_lsn": .init(pending.commitLSN), "changes": .init(pending.ordinal)])
    }

    /// Commits the open transaction, however often that takes, and only then moves what is durable.
    /// - Parameter isPublishing: the newest chunk is still being worked on.
    mutating func commit(isPublishing: Bool) throws(SessionFailure) {
        let started = services.clock.monotonic()
        var isCommitted = false
        let seen = services.state.seen
        pending.mark = seen.mark ?? pending.mark
        // A standby may be promoted under its walsender, which goes on.
        pending.timeline = max(pending.timeline, seen.timeline ?? 0)
        let now = services.clock.wall() / 1000
        pending.marks = settings.window?.marks(pending.marks, passing: pending.lsn, now: now) ?? []
        pending.forgetClock(aheadOf: now)
        while !isCommitted {
            do throws(KafkaError) {
                try begin(forRecords: false)
                guard let producer else { throw Self.noProducer }
                Failpoint.hit(.beforePosition)
                try ProgressStore.produce(pending, for: settings.progressKey, to: topics.progress, by: producer)
                Failpoint.hit(.afterPosition)
                try deliverAll()
                Failpoint.hit(.beforeCommit)
                // The session is over, and the slot may be another's: `recover` says so.
                guard !link.isAborted else { throw Self.inDoubt }
                try producer.commit(timeout: Self.callTimeout)
                doubt.ended()
                Failpoint.hit(.afterCommit)
                isCommitted = true
            } catch {
                isCommitted = try recover(from: error, attempted: pending) == .alreadyCommitted
            }
        }
        let took = services.clock.monotonic() &- started
        lastCommit = started
        pace.committed(now: started &+ took, isSmall: open.batch.bytes < Self.smallBatch)
        backoff.reset()
        hasFailed = false
        stored = pending
        memory.committed(upTo: stored.lsn)
        services.state.committed(
            AgentState.Commit(
                position: stored, rows: open.batch.rows, bytes: open.batch.bytes, counts: counts,
                tables: link.names.tables, topics: link.names.topics,
                seconds: Double(took) / 1e9,
                now: services.clock.wall()))
        counts.removeAll()
        open.committed(isPublishing: isPublishing, after: took)
        link.committed(upTo: stored.lsn, marks: stored.marks)
        try settle()
    }

    /// Bytes of a batch that takes no time to send beside what the coordinator takes.
    private static var smallBatch: Int { 64 << 10 }
}
