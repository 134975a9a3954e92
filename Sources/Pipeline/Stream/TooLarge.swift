/// A record that cannot be sent, with what is to be raised: a limit of its topic, or that of the brokers, which holds for all topics.
struct TooLarge: Equatable {
    let table: String
    let topic: String
    let key: String
    let position: String
    /// Bytes, uncompressed.
    let size: Int
    /// What is taken, bytes.
    let limit: Int
    /// What brokers take of one batch, bytes; nil where they were not asked.
    let requestLimit: Int?

    /// A broker's own default of `socket.request.max.bytes`.
    private static let defaultRequest = 104_857_600

    var exit: AgentExit {
        let isOfBrokers = limit == requestLimit
        let topics =
            "kafka-configs.sh --bootstrap-server BROKERS --alter --topic \(topic) --add-config max.message.bytes=\(size * 2)"
        let brokers =
            "raise socket.request.max.bytes in server.properties of all brokers to \(size * 2), and restart them"
        var hints = isOfBrokers ? [brokers] : [topics]
        if !isOfBrokers, size * 2 > Self.defaultRequest {
            hints.append("\(brokers), where it is \(Self.defaultRequest), its default")
        }
        return AgentExit(
            .unrepresentable,
            isOfBrokers
                ? "a record of \(table) is larger than the brokers take"
                : "a record of \(table) is larger than topic \(topic) takes",
            details: [
                "key: \(key)",
                "size: \(size) bytes, "
                    + (isOfBrokers
                        ? "of a request after socket.request.max.bytes: \(limit)" : "max.message.bytes: \(limit)"),
                "position: \(position)",
            ],
            hints: hints)
    }
}
