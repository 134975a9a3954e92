internal import CKafka

/// One call of librdkafka's admin interface: its options and the queue of its own on which the answer comes.
struct AdminRequest: ~Copyable {
    let options: OpaquePointer
    let queue: OpaquePointer
    private let operation: String
    private let timeout: Duration

    init(
        _ client: OpaquePointer, _ kind: rd_kafka_admin_op_t, _ operation: String, _ timeout: Duration,
        validateOnly: Bool = false
    ) throws(KafkaError) {
        let options = try Self.options(client, kind, operation, timeout, validateOnly)
        guard let queue = rd_kafka_queue_new(client) else {
            rd_kafka_AdminOptions_destroy(options)
            throw KafkaError.invalid(operation, "no queue")
        }
        self.options = options
        self.queue = queue
        self.operation = operation
        self.timeout = timeout
    }

    private static func options(
        _ client: OpaquePointer, _ kind: rd_kafka_admin_op_t, _ operation: String, _ timeout: Duration,
        _ validateOnly: Bool
    ) throws(KafkaError) -> OpaquePointer {
        guard let options = rd_kafka_AdminOptions_new(client, kind) else {
            throw KafkaError.invalid(operation, "no options")
        }
        var message = [CChar](repeating: 0, count: 512)
        let milliseconds = max(1, min(timeout.milliseconds, 3_600_000))
        var code = rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, &message, message.count)
        if code == RD_KAFKA_RESP_ERR_NO_ERROR, kind != RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS {
            // The brokers answer when it is done everywhere, not when it has been accepted.
            code = rd_kafka_AdminOptions_set_operation_timeout(options, milliseconds, &message, message.count)
        }
        if code == RD_KAFKA_RESP_ERR_NO_ERROR, validateOnly {
            code = rd_kafka_AdminOptions_set_validate_only(options, 1, &message, message.count)
        }
        if let error = KafkaError(code, operation: operation, detail: text(of: message)) {
            rd_kafka_AdminOptions_destroy(options)
            throw error
        }
        return options
    }

    deinit {
        rd_kafka_queue_destroy(queue)
        rd_kafka_AdminOptions_destroy(options)
    }

    /// Waits for the answer; throws the error of the request as a whole.
    func answer() throws(KafkaError) -> AdminAnswer {
        // A little longer than the request's own deadline, whose error says more.
        guard let event = rd_kafka_queue_poll(queue, timeout.milliseconds + 500) else {
            throw KafkaError.timedOut(operation, "no answer within \(timeout)")
        }
        let answer = AdminAnswer(owning: event)
        try answer.throwError(operation)
        return answer
    }
}
