import Kafka
import Postgres

/// What a session starts from: the position that Kafka holds, compared with the server. That is done twice: before the slot is held, so
/// that nobody is fenced for a start that would be refused, and once nobody is left who could move either.
struct StreamOrigin {
    let settings: StreamSettings
    let services: StreamServices
    let memory: SessionMemory

    /// What the server says, and its `wal_sender_timeout` in milliseconds.
    func gather() throws(SessionFailure) -> (facts: StartFacts, senderTimeout: Int) {
        try StreamFailures.postgres(settings) { () throws(PostgresError) in try StartFacts.gather(settings) }
    }

    /// Where to start, as far as can be told while another agent's last commit may still be under way.
    ///
    /// The slot was looked at before the position, and the end of the WAL is looked at after it: an agent that streams moves
    /// both meanwhile, and neither may look like a gap. A commit that was decided and confirmed may not be visible yet, and
    /// then the slot is ahead of what can be read: the publisher's thread waits for it and compares again.
    func firstPosition(_ early: StartFacts) throws(SessionFailure) -> StoredPosition {
        let (found, isOpen) = try StreamFailures.kafka { () throws(KafkaError) in
            try ProgressStore(settings, events: services.kafkaEvents).readIfThere(timeout: .seconds(10))
        }
        let position = try position(found)
        if let position = try? StartDecision.judge(position, early) { return position }
        var facts = try gather().facts
        facts.slot = early.slot
        do throws(StartRefusal) {
            return try StartDecision.judge(position, facts)
        } catch {
            guard error.kind == .slotAhead, isOpen, let position else { throw failure(error, facts) }
            return position
        }
    }

    /// Where to start, or why not: the position was read while nobody could move it.
    func judge(_ found: ProgressStore.Found, _ facts: StartFacts) throws(SessionFailure) -> StoredPosition {
        let position = try position(found)
        do throws(StartRefusal) {
            return try StartDecision.judge(position, facts)
        } catch { throw failure(error, facts) }
    }

    private func position(_ found: ProgressStore.Found) throws(SessionFailure) -> StoredPosition? {
        switch found {
        case .nothing: return nil
        case .position(let read):
            memory.foundPosition()
            if let exit = read.refusal(of: settings.format) { throw .exit(exit) }
            return read
        case .unreadable(let why):
            throw .exit(StartRefusal.unreadable(settings.progressTopic, why).exit)
        }
    }

    private func failure(_ refusal: StartRefusal, _ facts: StartFacts) -> SessionFailure {
        // It may get the WAL, and a slot that is synchronized, yet; and streams once it is promoted.
        if facts.isInRecovery, refusal.kind == .serverBehind || refusal.kind == .slotMissing {
            return .retry(component: .postgres, reason: "the server is a standby: \(refusal.message)")
        }
        guard refusal.kind == .noPosition, facts.slot != nil, !memory.isGone(now: services.clock.monotonic()) else {
            return .exit(refusal.exit)
        }
        return .retry(component: .kafka, reason: "topic \(settings.progressTopic) shows no position")
    }
}
