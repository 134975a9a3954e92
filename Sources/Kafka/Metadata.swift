internal import CKafka

/// What the brokers say of themselves and of their topics.
public struct ClusterDescription: Sendable, Hashable {
    /// The cluster's identifier; empty where the brokers give none.
    public let id: String
    /// `host:port` of each broker, by its number.
    public let brokers: [Int32: String]
}

extension ClientHandle {
    /// The partitions of one topic. Never creates it: `allow.auto.create.topics` is false on every client.
    func partitionCount(of topic: OpaquePointer, name: String, _ deadline: Deadline) throws(KafkaError) -> Int32 {
        let operation = "topic \(name)"
        return try askAbout(topic, operation, deadline) { topics in
            // A topic just created has no leaders for a moment.
            guard topics.count == 1, let found = topics.first else { return .failure(.noPartitions(operation)) }
            if let error = KafkaError(found.err, operation: operation) { return .failure(error) }
            return found.partition_cnt > 0 ? .success(found.partition_cnt) : .failure(.noPartitions(operation))
        }
    }

    /// The partitions of each of several topics, in one request; those that do not exist are left out.
    /// - Parameter names: of topics that this client has handles of. It asks for all of those.
    func partitionCounts(of names: Set<String>, _ deadline: Deadline) throws(KafkaError) -> [String: Int32] {
        try askAbout(nil, "\(names.count) topics", deadline) { topics in
            var counts: [String: Int32] = [:]
            for topic in topics {
                let name = String(cString: topic.topic)
                guard names.contains(name) else { continue }
                if let error = KafkaError(topic.err, operation: "topic \(name)") {
                    guard error.reason == .unknownTopic else { return .failure(error) }
                } else if topic.partition_cnt > 0 {
                    counts[name] = topic.partition_cnt
                }
            }
            return .success(counts)
        }
    }

    /// Asks the brokers about one topic, or about all that the client has handles of, until there is an answer: what is lost on the
    /// way, and what `read` finds to be so for a moment only, is asked for again.
    private func askAbout<Answer>(
        _ topic: OpaquePointer?, _ operation: String, _ deadline: Deadline,
        _ read: (UnsafeBufferPointer<rd_kafka_metadata_topic>) -> Result<Answer, KafkaError>
    ) throws(KafkaError) -> Answer {
        while true {
            var metadata: UnsafePointer<rd_kafka_metadata>?
            let code = rd_kafka_metadata(pointer, 0, topic, &metadata, max(1, deadline.milliseconds))
            var error = KafkaError(code, operation: operation) ?? .noPartitions(operation)
            if let metadata {
                defer { rd_kafka_metadata_destroy(metadata) }
                let topics = UnsafeBufferPointer(start: metadata.pointee.topics, count: Int(metadata.pointee.topic_cnt))
                switch read(topics) {
                case .success(let answer): return answer
                case .failure(let found): error = found
                }
            }
            guard error.disposition == .retriable, !deadline.hasPassed else { throw error }
            rd_kafka_poll(pointer, min(50, deadline.milliseconds))
        }
    }

    func describeCluster(_ deadline: Deadline) throws(KafkaError) -> ClusterDescription {
        var metadata: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(pointer, 0, nil, &metadata, max(1, deadline.milliseconds))
        if let error = KafkaError(code, operation: "describe cluster") { throw error }
        guard let metadata else { throw KafkaError.timedOut("describe cluster", "no answer") }
        defer { rd_kafka_metadata_destroy(metadata) }
        var brokers: [Int32: String] = [:]
        for broker in UnsafeBufferPointer(start: metadata.pointee.brokers, count: Int(metadata.pointee.broker_cnt)) {
            brokers[broker.id] = "\(String(cString: broker.host)):\(broker.port)"
        }
        var id = ""
        if let text = rd_kafka_clusterid(pointer, deadline.milliseconds) {
            id = String(cString: text)
            rd_kafka_mem_free(pointer, text)
        }
        return ClusterDescription(id: id, brokers: brokers)
    }

    /// Before the next attempt: waits for a moment, and asks who leads what.
    ///
    /// A client without topics of its own keeps the leaders that it has heard of for minutes (2.0.2 asks again only for topics it
    /// has handles of, and drops nothing when a broker says that it does not lead): each attempt would go to the same broker.
    func askForLeaders(_ deadline: Deadline) {
        rd_kafka_poll(pointer, min(50, deadline.milliseconds))
        var metadata: UnsafePointer<rd_kafka_metadata>?
        if rd_kafka_metadata(pointer, 1, nil, &metadata, max(1, min(1000, deadline.milliseconds)))
            == RD_KAFKA_RESP_ERR_NO_ERROR
        {
            rd_kafka_metadata_destroy(metadata)
        }
    }
}

extension KafkaError {
    fileprivate static func noPartitions(_ operation: String) -> KafkaError {
        .timedOut(operation, "no partitions are known")
    }
}
