import Kafka

/// The settings of the topics, which anybody may change at any time.
extension SinkSession {
    /// Nanoseconds between two looks. Closed segments alone are compacted, and seldom is a sink so far behind.
    private static let policiesEvery: Int64 = .seconds(120)

    /// Looks for compaction, which would take records before they are read, without a trace: after an assignment, and now and then.
    func lookAtPolicies() throws(SinkFailure) {
        guard context.now >= nextPolicies, !writers.isEmpty else { return }
        nextPolicies = context.now &+ Self.policiesEvery
        let topics = Set(writers.keys.map(\.topic)).sorted()
        let found: [String: [String: String]]
        do throws(KafkaError) {
            found = try consumer.configurations(ofTopics: topics, ["cleanup.policy"], timeout: .seconds(3))
        } catch {
            // What keeps brokers from answering is told of elsewhere. A missing right is no error: those topics are not in the answer.
            return services.log.debug("the topics' policies cannot be asked for", ["error": .init(error)])
        }
        context.now = services.clock.monotonic()
        for topic in topics {
            guard let policy = Compaction.policy(found[topic]) else { continue }
            try salvage(before: .compacted(topic, policy: policy))
        }
    }
}
