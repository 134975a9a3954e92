import Kafka

/// What the publisher does when Kafka says no. The table of decisions is `ProducerRecovery`.
extension Publisher {
    enum Recovered {
        /// The open transaction was begun again and holds what it held.
        case resent
        /// The commit had happened after all.
        case alreadyCommitted
    }

    /// Brings the open transaction back, however long the brokers are away, or ends the session.
    /// - Parameter attempted: the position that was being committed when the error came; nil if none was.
    mutating func recover(
        from first: KafkaError, attempted: StoredPosition?
    ) throws(SessionFailure) -> Recovered {
        var error = first
        // Brokers may take every record and refuse them at each commit, as long as somebody sets that right.
        if hasFailed { try pause() }
        hasFailed = true
        while true {
            guard !link.isAborted else { throw .stopped }
            services.turned(.publisher)
            error = explained(error)
            let now = services.clock.monotonic()
            let isExpired = error.disposition == .fenced && pace.age(now: now) >= settings.transactionTimeout
            services.state.failed("kafka", kind: isExpired ? "expired" : "\(error.disposition)")
            services.log.warning(
                isExpired
                    ? "a transaction was open for longer than kafka.transaction.timeout, and was ended"
                    : "kafka refused a call", ["error": .init(error)])
            switch recovery.action(
                for: error.disposition, error.reason,
                isInDoubt: producer.map { doubt.isDue($0.connectionsLost) } ?? false,
                isRetained: open.isRetained, isExpired: isExpired, now: now)
            {
            case .refuse:
                // The topic's limit may have been lowered meanwhile: the next session knows it, and which record is past it.
                guard memory.refusedAsTooLarge() else { throw .retry(component: .kafka, reason: error.description) }
                throw .exit(tooLarge(error))
            case .restartSession: throw .retry(component: .kafka, reason: error.description)
            case .giveUp:
                throw .exit(
                    AgentExit(
                        .replaced, "another producer keeps taking \(settings.transactionalID)",
                        details: [error.description],
                        hints: [
                            "find the other agent of this name: kafka-transactions.sh --bootstrap-server BROKERS "
                                + "describe --transactional-id \(settings.transactionalID)"
                        ]))
            case .abortAndResend:
                if let next = abortFailure() {
                    error = next
                    try pause()
                    continue
                }
            case .renewIfSlotIsOurs:
                // It may be one that woke while it fenced, and is refused as long as our transactions are open: it tries each
                // 500 ms, and each time ends one of ours. Let it come to its end, and find that the slot is gone.
                discard()
                try pause(Self.fenceRetries)
                fallthrough
            case .renew:
                if try renew(attempted: attempted) == .alreadyCommitted {
                    services.log.info("kafka goes on: the commit had been made")
                    return .alreadyCommitted
                }
            }
            guard let next = resendFailure() else {
                services.log.info("kafka goes on: the open transaction was sent again")
                return .resent
            }
            error = next
            try pause()
        }
    }

    /// A transaction that has failed says so at each later call; only the reports of its records say that a batch was too large.
    private func explained(_ error: KafkaError) -> KafkaError {
        guard error.disposition == .abortable, let producer else { return error }
        producer.poll(.milliseconds(50))
        guard let failures = producer.takeDeliveryFailures(), failures.error.reason == .messageTooLarge else {
            return error
        }
        return failures.error
    }

    /// Where a connection was lost: looks whether the last end of a transaction has reached all its partitions. One that has
    /// not is ended by a new producer.
    mutating func settle() throws(SessionFailure) {
        if let error = unsettled() { _ = try recover(from: error, attempted: nil) }
    }

    /// Apart from `settle`: no reference to the producer may outlive this, see `discard`.
    private mutating func unsettled() -> KafkaError? {
        guard let producer else { return nil }
        let lost = producer.connectionsLost
        guard doubt.isDue(lost) else { return nil }
        do throws(KafkaError) {
            if !producer.isInTransaction, try topics.areSettled() {
                doubt.isSettled(lost)
                return nil
            }
        } catch { return error }
        return doubt.forbidsRecords(lost) ? Self.inDoubt : nil
    }

    /// Frees the producer, so that nothing more is sent by it and no memory of the batch is in use: ours is the only reference.
    private mutating func discard() {
        var last = producer
        producer = nil
        precondition(last == nil || isKnownUniquelyReferenced(&last), "a producer that is not freed goes on sending")
        last = nil
    }

    static var inDoubt: KafkaError {
        KafkaError(
            "a connection was lost, its end may not have reached all partitions", operation: "last transaction",
            disposition: .indefinite)
    }

    /// Between `discard` and the next producer nothing is sent or committed.
    static var noProducer: KafkaError {
        KafkaError("there is no producer", operation: "produce", disposition: .fenced)
    }

    /// How long one call to Kafka may take before its outcome counts as not known.
    static var callTimeout: Duration { .seconds(60) }

    /// Takes the records of a transaction that will not come to its end out of the open Kafka transaction, where what is before them is
    /// in memory.
    mutating func takeBack() throws(SessionFailure) {
        // Where the end before is in doubt, this producer may end nothing.
        guard let lost = producer?.connectionsLost, !doubt.isDue(lost), open.cutBack() else { return }
        if let error = abortFailure() ?? resendFailure() { _ = try recover(from: error, attempted: nil) }
    }

    private mutating func abortFailure() -> KafkaError? {
        guard let producer, producer.isInTransaction else { return nil }
        do throws(KafkaError) {
            try producer.abort(timeout: Self.callTimeout)
            doubt.ended()
            return nil
        } catch { return error }
    }

    /// Sends the open batch again.
    private mutating func resendFailure() -> KafkaError? {
        do throws(KafkaError) {
            try begin(forRecords: !open.isEmpty)
            open.isBegunAgain(now: services.clock.monotonic())
            for (chunk, range) in open.records { _ = try send(chunk, range, copying: false) }
            return nil
        } catch { return error }
    }

    /// Another producer of the same id: fences the old one, ends its open transaction, and looks at what Kafka holds.
    private mutating func renew(attempted: StoredPosition?) throws(SessionFailure) -> Recovered {
        discard()
        while true {
            guard !link.isAborted else { throw .stopped }
            services.turned(.publisher)
            try requireSlot()
            if try fence() {
                // Whoever has taken the slot meanwhile has it by right, though it was fenced here; whoever takes it from now on fences us.
                guard !link.isAborted else { throw .stopped }
                try requireSlot()
                if try reopen() {
                    services.state.update { $0.producersRenewed += 1 }
                    if let found = settledPosition() { return try decide(found, attempted) }
                }
            }
            discard()
            try pause()
        }
    }

    /// Takes a new producer, before which all others are fenced; false where brokers do not answer yet. Apart from `renew`: no
    /// reference to the producer may outlive this, see `discard`.
    private mutating func fence() throws(SessionFailure) -> Bool {
        do throws(KafkaError) {
            let fresh = try services.makeProducer(settings)
            Failpoint.hit(.beforeFence)
            try fresh.initTransactions(timeout: .seconds(20))
            Failpoint.hit(.afterFence)
            producer = fresh
            return true
        } catch {
            try note(error)
            return false
        }
    }

    /// Opens the topics by the new producer; false where brokers do not answer yet.
    private mutating func reopen() throws(SessionFailure) -> Bool {
        guard let producer else { return false }
        let changed: String?
        do throws(KafkaError) {
            changed = try topics.reopen(by: producer, after: stored)
        } catch {
            try note(error)
            return false
        }
        doubt = EndInDoubt()
        guard let changed else { return true }
        throw .retry(component: .kafka, reason: "topic \(changed) has another number of partitions than it had")
    }

    /// Why there is no new producer yet.
    private func note(_ error: KafkaError) throws(SessionFailure) {
        // A topic was deleted: the next session makes it again.
        guard error.reason != .unknownTopic else { throw StreamFailures.session(error) }
        services.state.failed("kafka", kind: "renew")
        services.log.warning("no new producer yet", ["error": .init(error)])
    }

    /// What Kafka holds, once no open transaction can change it; nil where that cannot be told.
    private func settledPosition() -> ProgressStore.Found? {
        do throws(KafkaError) {
            let (found, isOpen) = try store.read(timeout: .seconds(10))
            return isOpen ? nil : found
        } catch {
            services.log.warning("the position cannot be read yet", ["error": .init(error)])
            return nil
        }
    }

    /// Only the agent that holds the slot may fence others.
    private func requireSlot() throws(SessionFailure) {
        try services.slotHolder(settings, ours: link.walsender).requireUs()
    }

    private func decide(
        _ found: ProgressStore.Found, _ attempted: StoredPosition?
    ) throws(SessionFailure) -> Recovered {
        guard case .position(let position) = found else {
            // The next session looks for it as long as `MissingPosition` says, and then says all that can be said.
            throw .retry(component: .kafka, reason: "topic \(settings.progressTopic) shows no position: \(found)")
        }
        if let attempted, position == attempted { return .alreadyCommitted }
        guard position == stored else {
            throw .exit(
                AgentExit(
                    .replaced,
                    "the stored position is \(position.lsn), but this agent last committed \(stored.lsn): another has taken over"
                ))
        }
        guard open.isRetained else {
            throw .retry(component: .kafka, reason: "a large transaction is read again from PostgreSQL")
        }
        return .resent
    }

    /// More than what librdkafka waits between two attempts to fence.
    private static var fenceRetries: Int64 { .milliseconds(800) }

    /// Waits before the next attempt.
    private mutating func pause() throws(SessionFailure) {
        try pause(backoff.next(random: services.clock.random()))
    }

    private func pause(_ nanoseconds: Int64) throws(SessionFailure) {
        let until = services.clock.monotonic() &+ nanoseconds
        while services.clock.monotonic() < until {
            services.turned(.publisher)
            guard !link.isAborted else { throw .stopped }
            if let deadline = services.stop.deadline, services.clock.monotonic() >= deadline { throw .stopped }
            link.queue.filled.wait(milliseconds: 20)
        }
    }

    private func tooLarge(_ error: KafkaError) -> AgentExit {
        AgentExit(
            .unrepresentable, "the brokers refuse a record as too large", details: [error.description],
            hints: ["raise max.message.bytes of the topic, and message.max.bytes of the brokers"])
    }
}
