internal import CKafka

extension KafkaAdmin {
    /// A topic's settings as they hold, defaults included, such as `max.message.bytes`; sensitive ones are left out. Throws
    /// with reason `.unknownTopic` where there is no such topic.
    public func configuration(ofTopic topic: String, timeout: Duration) throws(KafkaError) -> [String: String] {
        try configuration(RD_KAFKA_RESOURCE_TOPIC, topic, "configuration of topic \(topic)", timeout)
    }

    /// These settings of several topics; those topics are left out of which they are not to be had, for whatever reason.
    public func configurations(
        ofTopics topics: [String], _ settings: Set<String>, timeout: Duration
    ) throws(KafkaError) -> [String: [String: String]] {
        try handle.configurations(ofTopics: topics, settings, Deadline(after: timeout))
    }

    /// A broker's settings as they hold, such as `transaction.max.timeout.ms`; by default of any one broker.
    public func configuration(ofBroker broker: Int32? = nil, timeout: Duration) throws(KafkaError) -> [String: String] {
        let deadline = Deadline(after: timeout)
        var id = broker
        if id == nil { id = try handle.describeCluster(deadline).brokers.keys.min() }
        guard let id else { throw KafkaError.timedOut("configuration of broker", "no broker is known") }
        return try configuration(RD_KAFKA_RESOURCE_BROKER, "\(id)", "configuration of broker \(id)", deadline.remaining)
    }

    private func configuration(
        _ kind: rd_kafka_ResourceType_t, _ name: String, _ operation: String, _ timeout: Duration
    ) throws(KafkaError) -> [String: String] {
        let event = try handle.describe([rd_kafka_ConfigResource_new(kind, name)], operation, timeout)
        guard let result = event.configurations(operation)[name] else {
            throw KafkaError.timedOut(operation, "it is not in the answer")
        }
        return try result.get()
    }
}

extension GroupConsumer {
    /// These settings of several topics; those topics are left out of which they are not to be had, for whatever reason.
    public func configurations(
        ofTopics topics: [String], _ settings: Set<String>, timeout: Duration
    ) throws(KafkaError) -> [String: [String: String]] {
        try source.batch.client.configurations(ofTopics: topics, settings, Deadline(after: timeout))
    }
}

extension ClientHandle {
    /// A few topics at a time: an answer of the brokers holds all settings of each, with where they come from.
    func configurations(
        ofTopics topics: [String], _ settings: Set<String>, _ deadline: Deadline
    ) throws(KafkaError) -> [String: [String: String]] {
        let operation = "configuration of topics"
        var found: [String: [String: String]] = [:]
        for first in stride(from: 0, to: topics.count, by: 50) {
            let some = topics[first..<min(first + 50, topics.count)]
            let event = try describe(
                some.map { rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, $0) }, operation, deadline.remaining)
            for (name, result) in event.configurations(operation) {
                guard case .success(let values) = result else { continue }
                found[name] = values.filter { settings.contains($0.key) }
            }
        }
        return found
    }

    /// - Parameter resources: freed here.
    fileprivate func describe(
        _ resources: [OpaquePointer?], _ operation: String, _ timeout: Duration
    ) throws(KafkaError) -> AdminAnswer {
        var list = resources
        defer { rd_kafka_ConfigResource_destroy_array(&list, list.count) }
        let request = try AdminRequest(pointer, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, operation, timeout)
        rd_kafka_DescribeConfigs(pointer, &list, list.count, request.options, request.queue)
        return try request.answer()
    }
}
