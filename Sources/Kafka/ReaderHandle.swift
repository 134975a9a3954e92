internal import CKafka

extension ClientHandle {
    /// A client that reads; without a group where `more` names none.
    static func reader(
        _ settings: KafkaSettings, _ options: ReaderOptions, events: KafkaEvents, rebalance: Bool = false,
        operation: String, more: [(name: String, value: String)] = []
    ) throws(KafkaError) -> ClientHandle {
        let configuration = ClientConfiguration()
        do throws(KafkaSettings.Refusal) {
            try settings.apply(to: configuration)
            try options.apply(to: configuration, settings)
            for property in more { try configuration.set(property.name, property.value) }
        } catch {
            throw KafkaError.invalid(operation, error.description)
        }
        return try ClientHandle(
            RD_KAFKA_CONSUMER, configuration, events: events, rebalance: rebalance, operation: operation)
    }

    /// The first offset and the end: the high watermark for a client that reads uncommitted records, the last stable offset
    /// for one that does not (ListOffsets carries the isolation level of the client).
    func watermarks(of partition: TopicPartition, _ deadline: Deadline) throws(KafkaError) -> (low: Int64, high: Int64)
    {
        while true {
            var low: Int64 = 0
            var high: Int64 = 0
            let code = rd_kafka_query_watermark_offsets(
                pointer, partition.topic, partition.partition, &low, &high, max(1, deadline.milliseconds))
            guard let error = KafkaError(code, operation: "offsets of \(partition)") else { return (low, high) }
            guard error.disposition == .retriable, !deadline.hasPassed else { throw error }
            rd_kafka_poll(pointer, min(50, deadline.milliseconds))
        }
    }
}
