import ChangeData
package import Kafka
import Postgres
package import Telemetry

/// What the threads of the stream are given: time, log, the state that metrics show, and the way to stop.
package struct StreamServices: Sendable {
    package let clock: Clock
    package let log: Logger
    package let state: AgentState
    package let stop: StopSignal
    /// What must end the stream although its own connections are well.
    package let alarm = Alarm()
    private let kafkaLines = KafkaLineThrottle()

    package init(clock: Clock, log: Logger, state: AgentState, stop: StopSignal) {
        self.clock = clock
        self.log = log
        self.state = state
        self.stop = stop
    }

    /// Where a Kafka client's own lines go.
    package var kafkaEvents: KafkaEvents {
        let log = log
        let state = state
        let lines = kafkaLines
        return KafkaEvents(
            log: { line in
                // The call that fails for it says only that no broker can be reached, and not every client has its events polled.
                if ["SASL authentication error", "SSL handshake failed"].contains(where: line.text.contains),
                    !line.text.contains("handle destroyed")
                {
                    let text = line.text.split(separator: "]: ", maxSplits: 1).last.map { String($0) }
                    state.update { $0.kafkaRefusal = text }
                }
                // librdkafka calls a broker that is away an error, each second; what it means for us is logged by us.
                let level: Logger.Level = line.level <= 4 ? .info : .debug
                guard let throttle = lines.throttle(of: line.facility, line.text) else {
                    return log.log(
                        level, "librdkafka", ["facility": .init(line.facility), "text": .init(line.text)])
                }
                log.log(
                    level, "librdkafka", throttle: throttle,
                    ["facility": .init(line.facility), "text": .init(line.text)])
            },
            error: { error in
                state.failed("kafka", kind: "background")
                log.debug("kafka client", ["error": .init(error)])
            })
    }

    /// A loop has turned.
    func turned(_ loop: AgentState.Loop) { state.turned(loop, now: clock.monotonic()) }

    /// Says that protocol 2 is given up for a while.
    func refused(_ refusal: StreamingRefusal) {
        state.failed("streaming", kind: refusal.kind.rawValue)
        log.warning(
            "transactions are not streamed before their commit for now: protocol 1",
            [
                "reason": .init(refusal.reason),
                "transaction": refusal.transaction.map { .init(Int($0)) } ?? .init("none"),
            ])
    }

    /// Who holds the slot.
    enum SlotHolder: Equatable {
        case us(Walsender)
        /// A process with the number of ours, while our role cannot see when even its own processes began.
        case perhapsUs(Walsender)
        case other(Int32)
        case nobody
        case unknown(String)

        /// By who holds it, and our walsenders. Where it is not seen when the holder began, it is of another role, and so another's:
        /// our own we see.
        init(_ holder: Walsender?, ours: [Walsender]) {
            guard let holder else {
                self = .nobody
                return
            }
            let alike = ours.filter { $0.pid == holder.pid }
            if holder.startedAt != nil, alike.contains(holder) {
                self = .us(holder)
            } else {
                self = alike.contains { $0.startedAt == nil } ? .perhapsUs(holder) : .other(holder.pid)
            }
        }

        /// Whether nothing says that it is not ours.
        var isOurs: Bool {
            switch self {
            case .us, .perhapsUs: true
            case .other, .nobody, .unknown: false
            }
        }

        /// Ends the session where the slot is not ours.
        func requireUs() throws(SessionFailure) {
            switch self {
            case .us, .perhapsUs: return
            case .other(let pid): throw .slotInUse(holder: pid)
            case .nobody: throw .retry(component: .postgres, reason: "the slot is no longer ours")
            case .unknown(let reason): throw .retry(component: .postgres, reason: reason)
            }
        }
    }

    /// Asks PostgreSQL who holds the slot: the lock of the whole agent (C10).
    func slotHolder(_ settings: StreamSettings, ours: [Walsender]) -> SlotHolder {
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(5))
            return SlotHolder(try connection.holder(ofSlot: settings.slot, timeout: .seconds(5)), ours: ours)
        } catch { return .unknown(error.description) }
    }

    /// Ends a walsender of ours that outlived its connection. A failure shows at the next look.
    func terminate(_ settings: StreamSettings, _ walsender: Walsender) {
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(5))
            try connection.terminate(walsender, timeout: .seconds(5))
        } catch {
            log.warning("cannot end the old walsender", ["pid": .init(walsender.pid), "error": .init(error)])
        }
    }

    /// The one transactional producer of the agent; connected in the background.
    func makeProducer(_ settings: StreamSettings) throws(KafkaError) -> TransactionalProducer {
        try TransactionalProducer(
            settings.kafka,
            ProducerOptions(
                transactionalID: settings.transactionalID,
                transactionTimeout: .nanoseconds(settings.transactionTimeout), queueBytes: settings.producerQueueBytes,
                batchBytes: settings.producerBatchBytes, recordBytes: settings.copiedBytes),
            events: kafkaEvents)
    }
}
