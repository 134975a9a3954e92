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
            throw KafkaError.refused(operation, error.description)
        }
        return try ClientHandle(
            RD_KAFKA_CONSUMER, configuration, events: events, rebalance: rebalance, operation: operation)
    }

    /// The ends of many partitions, asked of each leader once: what `watermarks` calls the end. Those that do not exist are
    /// left out.
    func ends(of partitions: [TopicPartition], _ deadline: Deadline) throws(KafkaError) -> [TopicPartition: Int64] {
        let operation = "ends of \(partitions.count) partitions"
        var found: [TopicPartition: Int64] = [:]
        var left = partitions
        while !left.isEmpty {
            let list = TopicPartitionList(left.map { PartitionOffset($0, offset: Int64(RD_KAFKA_OFFSET_END)) })
            let code = list.pass { rd_kafka_offsets_for_times(pointer, $0, max(1, deadline.milliseconds)) }
            var failure = KafkaError(code, operation: operation)
            var again: [TopicPartition] = []
            for result in list.results(operation) {
                switch result.error {
                case nil where failure == nil: found[result.partition] = result.offset
                case nil: again.append(result.partition)
                case let error? where error.reason == .unknownTopic: break
                case let error?:
                    again.append(result.partition)
                    failure = failure ?? error
                }
            }
            // Where only some do not exist, the others were not asked for.
            if again.count < left.count, failure?.reason == .unknownTopic { failure = nil }
            left = again
            guard let failure else { continue }
            guard failure.disposition == .retriable, !deadline.hasPassed else { throw failure }
            askForLeaders(deadline)
        }
        return found
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
            askForLeaders(deadline)
        }
    }
}
