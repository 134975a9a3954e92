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

    /// Milliseconds for one question to a leader: then it may have moved.
    private static let patience: Int32 = 3000

    /// The ends of many partitions, asked of each leader once: the high watermark for a client that reads uncommitted records, the last
    /// stable offset for one that does not (ListOffsets carries the isolation level of the client). Those that do not exist are left out.
    func ends(of partitions: [TopicPartition], _ deadline: Deadline) throws(KafkaError) -> [TopicPartition: Int64] {
        try offsets(of: partitions, at: Int64(RD_KAFKA_OFFSET_END), "ends", deadline)
    }

    /// Their first offsets, likewise.
    func begins(of partitions: [TopicPartition], _ deadline: Deadline) throws(KafkaError) -> [TopicPartition: Int64] {
        try offsets(of: partitions, at: Int64(RD_KAFKA_OFFSET_BEGINNING), "begin", deadline)
    }

    /// Not `rd_kafka_query_watermark_offsets`: before 2.12 that waits for one leader's answer however long it takes, also for one
    /// that never comes back.
    private func offsets(
        of partitions: [TopicPartition], at place: Int64, _ what: String, _ deadline: Deadline
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        let operation =
            partitions.count == 1 ? "\(what) of \(partitions[0])" : "\(what) of \(partitions.count) partitions"
        var found: [TopicPartition: Int64] = [:]
        var left = partitions
        while !left.isEmpty {
            let list = TopicPartitionList(left.map { PartitionOffset($0, offset: place) })
            let code = list.pass {
                rd_kafka_offsets_for_times(pointer, $0, min(max(1, deadline.milliseconds), Self.patience))
            }
            var failure = KafkaError(code, operation: operation)
            var again: [TopicPartition] = []
            for result in list.results(operation) {
                switch result.error {
                case nil where failure == nil: found[result.partition] = result.offset
                case nil: again.append(result.partition)
                case let error? where error.reason == .unknownTopic: break
                case let error?:
                    again.append(result.partition)
                    // Where no partition has a leader now, the answer as a whole is that none of them exists.
                    if failure == nil || failure?.reason == .unknownTopic { failure = error }
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
}

extension KafkaError {
    static func doesNotExist(_ partition: TopicPartition) -> KafkaError {
        KafkaError(
            code: RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, operation: "offsets of \(partition)",
            text: "it does not exist", disposition: .permanent)
    }
}
