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
                log.log(
                    line.level <= 4 ? .info : .debug, "librdkafka",
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
        case us
        case other(Int32)
        case nobody
        case unknown(String)

        /// By the slot's `active_pid`, and the process of our walsender.
        init(_ activePID: Int32?, walsender: Int32) {
            guard let activePID else {
                self = .nobody
                return
            }
            self = activePID == walsender ? .us : .other(activePID)
        }

        /// Ends the session where the slot is not ours.
        func requireUs() throws(SessionFailure) {
            switch self {
            case .us: return
            case .other(let pid): throw .slotInUse(holder: pid)
            case .nobody: throw .retry(component: .postgres, reason: "the slot is no longer ours")
            case .unknown(let reason): throw .retry(component: .postgres, reason: reason)
            }
        }
    }

    /// Asks PostgreSQL who holds the slot: the lock of the whole agent (C10).
    func slotHolder(_ settings: StreamSettings, walsender: Int32) -> SlotHolder {
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(5))
            let rows = try connection.query(
                "SELECT active_pid FROM pg_catalog.pg_replication_slots WHERE slot_name = $1", [settings.slot],
                timeout: .seconds(5))
            guard rows.count == 1 else { return .nobody }
            return SlotHolder(rows[0, "active_pid"].flatMap { Int32($0) }, walsender: walsender)
        } catch { return .unknown(error.description) }
    }

    /// Ends a walsender of ours that outlived its connection. A failure shows at the next look.
    func terminate(_ settings: StreamSettings, pid: Int32) {
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(5))
            _ = try connection.query(
                "SELECT pg_catalog.pg_terminate_backend($1::int)", ["\(pid)"], timeout: .seconds(5))
        } catch {
            log.warning("cannot end the old walsender", ["pid": .init(pid), "error": .init(error)])
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
