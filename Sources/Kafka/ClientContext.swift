internal import CKafka
internal import Synchronization

/// What callbacks know: it is retained once by the client's handle and released after the client's threads have ended.
final class ClientContext: Sendable {
    /// A change of the assignment that the application has not been told of.
    enum Rebalance: Sendable {
        case assigned([TopicPartition])
        case revoked([TopicPartition], lost: Bool)
        case failed(KafkaError)
    }

    private struct State {
        var rebalances: [Rebalance] = []
        /// Partitions that are read and are no more, of which nobody was told.
        var vanished: [TopicPartition: KafkaError] = [:]
        var failures: DeliveryFailures?
        var losses = ConnectionLosses()
        /// How to answer a rebalance of a consumer that is being closed; nil while the application does.
        var closing: Closing?
        /// Whether the client must not be freed before its first assignment.
        var awaitsAssignment = false
    }

    private enum Closing { case eagerly, cooperatively }

    private let events: KafkaEvents
    private let state = Mutex(State())
    /// A producer's.
    private let flight: FlightLedger?

    init(_ events: KafkaEvents, flight: FlightLedger? = nil) {
        self.events = events
        self.flight = flight
    }

    /// The context behind a client's opaque pointer, unretained: the client outlives every callback.
    static func behind(_ opaque: UnsafeMutableRawPointer?) -> ClientContext? {
        guard let opaque else { return nil }
        return Unmanaged<ClientContext>.fromOpaque(opaque).takeUnretainedValue()
    }

    func log(level: Int32, facility: String, text: String) {
        // The user's properties go to producers and consumers alike, so this is no news.
        if facility == "CONFWARN", text.contains("property and will be ignored by this") { return }
        if facility == "FAIL" { state.withLock { $0.losses.failed(text) } }
        events.log(KafkaLogLine(level: level, facility: facility, text: text))
    }

    /// Connections to brokers that ended while they were not idle.
    var connectionsLost: Int { state.withLock { $0.losses.count } }

    func error(_ client: OpaquePointer?, _ code: rd_kafka_resp_err_t, text: String) {
        var code = code
        var text = text
        if code == RD_KAFKA_RESP_ERR__FATAL, let client {
            // `_FATAL` only says that there is one: the error itself is asked for.
            var buffer = [CChar](repeating: 0, count: 512)
            let cause = rd_kafka_fatal_error(client, &buffer, buffer.count)
            if cause != RD_KAFKA_RESP_ERR_NO_ERROR { (code, text) = (cause, Kafka.text(of: buffer)) }
            let fenced = KafkaError.isFenced(code)
            events.error(
                KafkaError(code: code, operation: "client", text: text, disposition: fenced ? .fenced : .fatal))
            return
        }
        let error = KafkaError(
            code: code, operation: "client", text: text, disposition: KafkaError.disposition(of: code))
        if error.reason == .unknownTopic, let partition = Self.partition(in: text) {
            state.withLock { $0.vanished[partition] = error }
        }
        events.error(error)
    }

    /// The partition that librdkafka names where one that it reads is gone: `<topic> [<partition>]: ...`. No call and no record tells of it.
    private static func partition(in text: String) -> TopicPartition? {
        guard let end = text.firstRange(of: "]: ")?.lowerBound, let start = text[..<end].lastIndex(of: "["),
            let number = Int32(text[text.index(after: start)..<end]), text[..<start].hasSuffix(" ")
        else { return nil }
        return TopicPartition(String(text[..<start].dropLast()), number)
    }

    /// One of the partitions that have vanished.
    func nextVanished() -> (partition: TopicPartition, error: KafkaError)? {
        state.withLock { state in
            guard let first = state.vanished.first else { return nil }
            state.vanished[first.key] = nil
            return (first.key, first.value)
        }
    }

    func rebalance(_ client: OpaquePointer?, _ code: rd_kafka_resp_err_t, _ partitions: [TopicPartition]) {
        let change: Rebalance
        switch code {
        case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS: change = .assigned(partitions)
        case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
            change = .revoked(partitions, lost: client.map { rd_kafka_assignment_lost($0) != 0 } ?? false)
        default:
            guard let error = KafkaError(code, operation: "rebalance") else { return }
            change = .failed(error)
        }
        let closing = state.withLock { state in
            if case .assigned = change { state.awaitsAssignment = false }
            if state.closing == nil { state.rebalances.append(change) }
            return state.closing
        }
        guard let client else { return }
        switch closing {
        case nil: rd_kafka_yield(client)  // The poll returns at once, so that the event is told.
        case .eagerly: rd_kafka_assign(client, nil)
        case .cooperatively:
            let list = TopicPartitionList(partitions)
            if code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS,
                let error = list.pass({ rd_kafka_incremental_unassign(client, $0) })
            {
                rd_kafka_error_destroy(error)
            } else if code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
                rd_kafka_assign(client, nil)
            }
        }
    }

    /// From here on nobody polls: rebalances are answered where they come.
    func acknowledgeRebalances(cooperatively: Bool) {
        state.withLock { state in
            state.closing = cooperatively ? .cooperatively : .eagerly
            state.rebalances = []
        }
    }

    /// The client joins a group with cooperative assignment. librdkafka before 2.3 ends the process by an assertion where such
    /// a client is freed between its joining and its first assignment (librdkafka#4312).
    func joinsCooperatively() {
        guard rd_kafka_version() < 0x0203_0000 else { return }
        state.withLock { $0.awaitsAssignment = true }
    }

    /// Whether freeing the client could end the process.
    var awaitsAssignment: Bool { state.withLock { $0.awaitsAssignment } }

    func nextRebalance() -> Rebalance? {
        state.withLock { $0.rebalances.isEmpty ? nil : $0.rebalances.removeFirst() }
    }

    /// Called for every record of a producer, whether it was delivered or not.
    func delivered(_ message: UnsafePointer<rd_kafka_message_t>) {
        flight?.reported(message.pointee.key_len + message.pointee.len, at: sluice_kafka_place(message))
        if message.pointee.err != RD_KAFKA_RESP_ERR_NO_ERROR { deliveryFailure(message) }
    }

    private func deliveryFailure(_ message: UnsafePointer<rd_kafka_message_t>) {
        let code = message.pointee.err
        // Records that an abort has thrown away are no failures: there may be thousands.
        guard code != RD_KAFKA_RESP_ERR__PURGE_QUEUE, code != RD_KAFKA_RESP_ERR__PURGE_INFLIGHT else { return }
        let topic = message.pointee.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? ""
        guard let error = KafkaError(code, operation: "produce", detail: "topic \(topic)") else { return }
        let partition = message.pointee.partition
        let size = message.pointee.len + message.pointee.key_len
        state.withLock { state in
            if state.failures == nil {
                state.failures = DeliveryFailures(
                    count: 0, topic: topic, partition: partition, bytes: size, error: error)
            }
            state.failures?.count += 1
        }
    }

    func takeDeliveryFailures() -> DeliveryFailures? {
        state.withLock { state in
            defer { state.failures = nil }
            return state.failures
        }
    }
}

/// The records of a transaction that the brokers did not take: the first of them, and how many there were. A batch is
/// refused as a whole, so the first is not always to blame.
public struct DeliveryFailures: Sendable, Hashable {
    /// How many records were refused.
    public internal(set) var count: Int
    /// The topic of the first.
    public let topic: String
    /// The partition of the first.
    public let partition: Int32
    /// The first one's key and value in bytes.
    public let bytes: Int
    /// The first one's error.
    public let error: KafkaError
}
