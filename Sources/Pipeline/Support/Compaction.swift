/// Compaction of a data topic: it deletes rows that are still needed, whoever finds it.
enum Compaction {
    /// The policy of a topic with these settings that compacts; nil where none does, or it is not known.
    static func policy(_ configuration: [String: String]?) -> String? {
        configuration?["cleanup.policy"].flatMap { $0.contains("compact") ? $0 : nil }
    }

    /// The command that ends it.
    static func cure(_ topic: String) -> String {
        "kafka-configs.sh --bootstrap-server BROKERS --alter --topic \(topic) --add-config cleanup.policy=delete"
    }
}
