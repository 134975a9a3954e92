/// A line that librdkafka wants logged.
public struct KafkaLogLine: Sendable, Hashable {
    /// syslog's: 3 error, 4 warning, 5 notice, 6 info, 7 debug.
    public let level: Int32
    /// librdkafka's short code of the place, such as `FAIL`.
    public let facility: String
    /// The line.
    public let text: String
}

/// Where a client's log lines and background errors go; nothing is ever written to standard error.
public struct KafkaEvents: Sendable {
    /// Called from librdkafka's own threads: must be quick and must not call back into the client.
    public let log: @Sendable (KafkaLogLine) -> Void
    /// Called on the thread that polls or commits. Informational: brokers that cannot be reached, an authentication that
    /// failed. What a call itself cannot do is thrown by that call.
    public let error: @Sendable (KafkaError) -> Void

    /// Two closures.
    public init(
        log: @escaping @Sendable (KafkaLogLine) -> Void, error: @escaping @Sendable (KafkaError) -> Void
    ) {
        self.log = log
        self.error = error
    }

    /// For programs that do not listen.
    public static var ignored: KafkaEvents { KafkaEvents(log: { _ in }, error: { _ in }) }
}
