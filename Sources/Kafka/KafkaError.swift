internal import CKafka

/// What went wrong in a call to Kafka, and what may be done about it. Safe to print: it holds no record data and no secret.
public struct KafkaError: Error, Sendable, Hashable {
    /// What the caller may do: the classes of librdkafka's transactional producer, and the one that it leaves to the application.
    public enum Disposition: Sendable, Hashable {
        /// Nothing has changed: the same call may be made again.
        case retriable
        /// The transaction must be aborted; then its records may be sent again by the same producer.
        case abortable
        /// Another producer has taken the transactional id, or the coordinator has timed the transaction out: the two look
        /// the same here. This producer is finished.
        case fenced
        /// A commit or abort is past its deadline: it may or may not have happened. Discard the producer, make another of
        /// the same transactional id, and read back what Kafka has.
        case indefinite
        /// This client cannot go on.
        case fatal
        /// This call cannot succeed as it was made; the client is unharmed.
        case permanent
    }

    /// What it was about, as far as callers treat it apart.
    public enum Reason: Sendable, Hashable {
        case messageTooLarge
        case unknownTopic
        case topicExists
        case authorization
        case authentication
        case offsetOutOfRange
        case timedOut
        case configuration
        /// No client can be made with these properties: they contradict, or name a file that cannot be read.
        case properties
        case unreachable
        case other
    }

    /// librdkafka's number: negative for its own, positive for a broker's.
    public let code: Int32
    /// librdkafka's name of the code, such as `_FENCED`.
    public let name: String
    /// What was attempted, such as `commit`.
    public let operation: String
    /// What librdkafka or the broker says about it.
    public let text: String
    /// What the caller may do.
    public let disposition: Disposition
    /// What it was about.
    public let reason: Reason

    /// The one place where an `rd_kafka_error_t` is read, classified and freed.
    init(consuming error: OpaquePointer, operation: String, detail: String? = nil) {
        let code = rd_kafka_error_code(error)
        let disposition: Disposition =
            if rd_kafka_error_is_fatal(error) != 0 {
                Self.isFenced(code) ? .fenced : .fatal
            } else if rd_kafka_error_txn_requires_abort(error) != 0 {
                .abortable
            } else if rd_kafka_error_is_retriable(error) != 0 {
                .retriable
            } else {
                Self.disposition(of: code)
            }
        self.init(
            code: code, operation: operation, text: Self.joined(String(cString: rd_kafka_error_string(error)), detail),
            disposition: disposition)
        rd_kafka_error_destroy(error)
    }

    /// The one place where a bare `rd_kafka_resp_err_t` becomes an error. `nil` where there is none.
    init?(_ code: rd_kafka_resp_err_t, operation: String, detail: String? = nil, disposition: Disposition? = nil) {
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        self.init(
            code: code, operation: operation, text: Self.joined(String(cString: rd_kafka_err2str(code)), detail),
            disposition: disposition ?? Self.disposition(of: code))
    }

    /// - Parameter reason: where the code does not say it.
    init(
        code: rd_kafka_resp_err_t, operation: String, text: String, disposition: Disposition, reason: Reason? = nil
    ) {
        self.code = code.rawValue
        self.name = String(cString: rd_kafka_err2name(code))
        self.operation = operation
        self.text = Self.joined(text, Self.advice(on: code))
        self.disposition = disposition
        self.reason = reason ?? Self.reason(of: code)
    }

    private init(_ other: KafkaError, disposition: Disposition, text: String) {
        code = other.code
        name = other.name
        operation = other.operation
        reason = other.reason
        self.text = text
        self.disposition = disposition
    }

    /// The same error in another class: a retriable one becomes indefinite when the deadline of a commit has passed.
    func with(_ disposition: Disposition, adding detail: String? = nil) -> KafkaError {
        KafkaError(self, disposition: disposition, text: Self.joined(text, detail))
    }

    static func timedOut(_ operation: String, _ text: String, disposition: Disposition = .retriable) -> KafkaError {
        KafkaError(
            code: RD_KAFKA_RESP_ERR__TIMED_OUT, operation: operation, text: text, disposition: disposition)
    }

    /// Something that the caller has found, and librdkafka has not: `_INCONSISTENT`, with reason `.other`.
    public init(_ text: String, operation: String, disposition: Disposition) {
        self.init(
            code: RD_KAFKA_RESP_ERR__INCONSISTENT, operation: operation, text: text, disposition: disposition)
    }

    static func invalid(_ operation: String, _ text: String) -> KafkaError {
        KafkaError(code: RD_KAFKA_RESP_ERR__INVALID_ARG, operation: operation, text: text, disposition: .permanent)
    }

    /// No client can be made with the properties that it was given.
    static func refused(_ operation: String, _ text: String) -> KafkaError {
        KafkaError(
            code: RD_KAFKA_RESP_ERR__INVALID_ARG, operation: operation, text: text, disposition: .permanent,
            reason: .properties)
    }

    private static func joined(_ text: String, _ detail: String?) -> String {
        guard let detail, !detail.isEmpty else { return text }
        return "\(text) (\(detail))"
    }
}

extension KafkaError: CustomStringConvertible {
    /// One line: operation, text, code.
    public var description: String { "kafka \(operation): \(text) [\(name)]" }
}
