import Kafka

/// What to do after an error of the transactional producer: the classes of the design, as a table.
///
/// The classic transaction protocol may lose or tear data where the outcome of a commit or abort is not known
/// (KAFKA-17754, KIP-890), and librdkafka cannot tell a coordinator's time-out from a fence (no KIP-588). So both end the
/// producer instance: a new one bumps the epoch, and what Kafka holds is read back before anything is sent again. Only the age of
/// the transaction tells them apart: one that is past its time-out was ended for that, as where a quota holds the producer back, unless
/// the slot or the position says otherwise.
struct ProducerRecovery: Equatable {
    enum Action: Equatable {
        /// Abort the transaction and send the batch again from memory.
        case abortAndResend
        /// Discard the producer, make another, read the position back, and decide.
        case renew
        /// As `renew`, if the slot is still ours; else end as replaced.
        case renewIfSlotIsOurs
        /// The session starts over: the batch is no longer in memory and is read again from PostgreSQL.
        case restartSession
        /// A record is larger than its topic takes.
        case refuse
        /// Fenced too often to be a time-out.
        case giveUp
    }

    /// Fences within `window` that are taken for the coordinator's time-out while the slot is ours.
    static let fencesAllowed = 3
    /// Nanoseconds.
    static let window: Int64 = .seconds(600)
    private var fences: [Int64] = []

    init() {}

    /// - Parameters:
    ///   - isInDoubt: whether the end of an earlier transaction may not be everywhere: this producer may end nothing more.
    ///   - isRetained: whether the whole open batch is still in memory.
    ///   - isExpired: whether the transaction has been open for longer than its coordinator allows.
    ///   - now: monotonic nanoseconds.
    mutating func action(
        for disposition: KafkaError.Disposition, _ reason: KafkaError.Reason, isInDoubt: Bool, isRetained: Bool,
        isExpired: Bool, now: Int64
    ) -> Action {
        if reason == .messageTooLarge { return .refuse }
        // A topic was deleted: the next session makes it again.
        if reason == .unknownTopic { return .restartSession }
        switch disposition {
        case .retriable, .abortable:
            if isInDoubt { return .renew }
            return isRetained ? .abortAndResend : .restartSession
        case .indefinite, .fatal, .permanent: return .renew
        case .fenced:
            // However often: an attempt that is as slow ends as this one. Who else is at work has the slot, or moves the position.
            if isExpired { return .renewIfSlotIsOurs }
            fences.removeAll { now &- $0 > Self.window }
            fences.append(now)
            return fences.count > Self.fencesAllowed ? .giveUp : .renewIfSlotIsOurs
        }
    }
}
