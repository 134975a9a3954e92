internal import CKafka

extension KafkaAdmin {
    /// A topic's settings as they hold, defaults included, such as `max.message.bytes`; sensitive ones are left out. Throws
    /// with reason `.unknownTopic` where there is no such topic.
    public func configuration(ofTopic topic: String, timeout: Duration) throws(KafkaError) -> [String: String] {
        try configuration(RD_KAFKA_RESOURCE_TOPIC, topic, "configuration of topic \(topic)", timeout)
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
        var list: [OpaquePointer?] = [rd_kafka_ConfigResource_new(kind, name)]
        defer { rd_kafka_ConfigResource_destroy_array(&list, list.count) }
        let request = try AdminRequest(handle.pointer, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, operation, timeout)
        rd_kafka_DescribeConfigs(handle.pointer, &list, list.count, request.options, request.queue)
        let event = try request.answer()
        return try event.configuration(operation)
    }
}
