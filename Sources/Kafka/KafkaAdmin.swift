internal import CKafka

/// A topic to be created.
public struct NewTopic: Sendable, Hashable {
    /// Its name.
    public let name: String
    /// How many partitions.
    public let partitions: Int32
    /// On how many brokers each.
    public let replicationFactor: Int32
    /// Its own settings, such as `cleanup.policy`.
    public let configuration: [String: String]

    /// A topic to be created.
    public init(_ name: String, partitions: Int32, replicationFactor: Int32, configuration: [String: String] = [:]) {
        self.name = name
        self.partitions = partitions
        self.replicationFactor = replicationFactor
        self.configuration = configuration
    }
}

/// Asks and changes what the brokers keep about topics. Blocking; every call has a deadline. One thread owns it.
public final class KafkaAdmin {
    /// What became of a topic that was to be created.
    public enum Creation: Sendable, Hashable {
        case created
        /// It was there already, however it is configured.
        case existed
        case failed(KafkaError)
    }

    private(set) var handle: ClientHandle
    private let settings: KafkaSettings
    private let events: KafkaEvents
    /// Reads committed records only, so that it is told the last stable offset; made when first asked for.
    private var committed: ClientHandle?
    /// Asks for the offsets of a group; made when first asked for.
    private var member: ClientHandle?
    private var memberGroup = ""

    /// Makes the client; it connects in the background.
    public init(_ settings: KafkaSettings, events: KafkaEvents = .ignored) throws(KafkaError) {
        self.settings = settings
        self.events = events
        handle = try Self.makeHandle(settings, events)
    }

    /// Makes the clients anew: they keep what they were told of each topic and partition that they were asked about, some ten
    /// kilobytes.
    public func forget() throws(KafkaError) {
        committed = nil
        member = nil
        handle = try Self.makeHandle(settings, events)
    }

    private static func makeHandle(_ settings: KafkaSettings, _ events: KafkaEvents) throws(KafkaError) -> ClientHandle
    {
        // A consumer without a group: it may not create topics, and its isolation level says what "end" means.
        var options = ReaderOptions()
        options.committedOnly = false
        return try ClientHandle.reader(settings, options, events: events, operation: "admin")
    }

    /// The cluster's identifier and its brokers.
    public func describeCluster(timeout: Duration) throws(KafkaError) -> ClusterDescription {
        try handle.describeCluster(Deadline(after: timeout))
    }

    /// How many partitions a topic has; nil where there is no such topic. Never creates it.
    public func partitionCount(of topic: String, timeout: Duration) throws(KafkaError) -> Int32? {
        guard let pointer = rd_kafka_topic_new(handle.pointer, topic, nil) else {
            throw KafkaError(
                code: rd_kafka_last_error(), operation: "topic \(topic)", text: "no handle", disposition: .permanent)
        }
        defer { rd_kafka_topic_destroy(pointer) }
        do throws(KafkaError) {
            return try handle.partitionCount(of: pointer, name: topic, Deadline(after: timeout))
        } catch {
            guard error.reason == .unknownTopic else { throw error }
            return nil
        }
    }

    /// How many partitions each of several topics has, in one request; those that do not exist are left out. Never creates one.
    public func partitionCounts(of topics: [String], timeout: Duration) throws(KafkaError) -> [String: Int32] {
        guard !topics.isEmpty else { return [:] }
        let pointers = topics.compactMap { rd_kafka_topic_new(handle.pointer, $0, nil) }
        defer { for pointer in pointers { rd_kafka_topic_destroy(pointer) } }
        return try handle.partitionCounts(of: Set(topics), Deadline(after: timeout))
    }

    /// A group's offsets of these partitions; one that has none is left out. Disturbs no member.
    public func committedOffsets(
        of group: String, _ partitions: [TopicPartition], timeout: Duration
    ) throws(KafkaError) -> [PartitionOffset] {
        if member == nil || memberGroup != group {
            member = try ClientHandle.reader(
                settings, ReaderOptions(), events: events, operation: "offsets of group \(group)",
                more: [(name: "group.id", value: group)])
            memberGroup = group
        }
        guard let pointer = member?.pointer else { return [] }
        let list = TopicPartitionList(partitions)
        let code = list.pass { rd_kafka_committed(pointer, $0, max(1, timeout.milliseconds)) }
        if let error = KafkaError(code, operation: "offsets of group \(group)") { throw error }
        try list.throwFirstError("offsets of group \(group)")
        return list.offsets()
    }

    private func makeCommitted() throws(KafkaError) {
        guard committed == nil else { return }
        committed = try ClientHandle.reader(settings, ReaderOptions(), events: events, operation: "admin")
    }

    /// The ends of a partition now; `lastStable` is asked for last.
    public func bounds(of partition: TopicPartition, timeout: Duration) throws(KafkaError) -> PartitionBounds {
        guard let bounds = try bounds(of: [partition], timeout: timeout)[partition] else {
            throw .doesNotExist(partition)
        }
        return bounds
    }

    /// The same of many partitions, each leader asked three times whatever their number. Those that do not exist are left out.
    /// - Throws: also where only one of them has no leader.
    public func bounds(
        of partitions: [TopicPartition], timeout: Duration
    ) throws(KafkaError) -> [TopicPartition: PartitionBounds] {
        guard !partitions.isEmpty else { return [:] }
        let deadline = Deadline(after: timeout)
        try makeCommitted()
        let lows = try handle.begins(of: partitions, deadline)
        let highs = try handle.ends(of: partitions, deadline)
        let stable = try committed?.ends(of: partitions, deadline) ?? highs
        var bounds: [TopicPartition: PartitionBounds] = [:]
        for (partition, low) in lows {
            guard let high = highs[partition], let last = stable[partition] else { continue }
            // A marker that was written in between is behind the earlier answer.
            bounds[partition] = PartitionBounds(low: low, lastStable: last, high: max(high, last))
        }
        return bounds
    }

    /// Those of these partitions in which records wait for the end of a transaction, whoever's it is, each with the offset of
    /// the first one (the last stable offset, KIP-98). Partitions that do not exist are left out.
    public func undecided(
        _ partitions: [TopicPartition], timeout: Duration
    ) throws(KafkaError) -> [PartitionOffset] {
        guard !partitions.isEmpty else { return [] }
        let deadline = Deadline(after: timeout)
        // In this order a transaction that ends in between is not taken for one that is open.
        try makeCommitted()
        let all = try handle.ends(of: partitions, deadline)
        let stable = try committed?.ends(of: partitions, deadline) ?? [:]
        return partitions.compactMap { partition in
            guard let end = all[partition], let decided = stable[partition], decided < end else { return nil }
            return PartitionOffset(partition, offset: decided)
        }
    }

    /// Creates topics, and says of each what became of it; with `dryRun` the brokers only say what would.
    public func createTopics(
        _ topics: [NewTopic], dryRun: Bool = false, timeout: Duration
    ) throws(KafkaError) -> [String: Creation] {
        let operation = "create topics"
        var list: [OpaquePointer?] = []
        defer { rd_kafka_NewTopic_destroy_array(&list, list.count) }
        for topic in topics {
            var message = [CChar](repeating: 0, count: 512)
            guard
                let new = rd_kafka_NewTopic_new(
                    topic.name, topic.partitions, topic.replicationFactor, &message, message.count)
            else { throw KafkaError.invalid("create topic \(topic.name)", text(of: message)) }
            list.append(new)
            for (name, value) in topic.configuration.sorted(by: { $0.key < $1.key }) {
                if let error = KafkaError(
                    rd_kafka_NewTopic_set_config(new, name, value), operation: operation, detail: name)
                {
                    throw error
                }
            }
        }
        let request = try AdminRequest(
            handle.pointer, RD_KAFKA_ADMIN_OP_CREATETOPICS, operation, timeout, validateOnly: dryRun)
        rd_kafka_CreateTopics(handle.pointer, &list, list.count, request.options, request.queue)
        let event = try request.answer()
        return event.topicResults(operation, rd_kafka_CreateTopics_result_topics).mapValues { error in
            guard let error else { return .created }
            return error.reason == .topicExists ? .existed : .failed(error)
        }
    }

    /// Deletes topics; throws the first failure. For tests and tools: the agent never does.
    public func deleteTopics(_ topics: [String], timeout: Duration) throws(KafkaError) {
        let operation = "delete topics"
        var list: [OpaquePointer?] = topics.map { rd_kafka_DeleteTopic_new($0) }
        defer { rd_kafka_DeleteTopic_destroy_array(&list, list.count) }
        let request = try AdminRequest(handle.pointer, RD_KAFKA_ADMIN_OP_DELETETOPICS, operation, timeout)
        rd_kafka_DeleteTopics(handle.pointer, &list, list.count, request.options, request.queue)
        let event = try request.answer()
        let results = event.topicResults(operation, rd_kafka_DeleteTopics_result_topics)
        for (_, error) in results.sorted(by: { $0.key < $1.key }) {
            if let error { throw error }
        }
    }

    /// Deletes the records below an offset of each partition. For tests and tools.
    public func deleteRecords(below offsets: [PartitionOffset], timeout: Duration) throws(KafkaError) {
        let operation = "delete records"
        var list: [OpaquePointer?] = [TopicPartitionList(offsets).pass { rd_kafka_DeleteRecords_new($0) }]
        defer { rd_kafka_DeleteRecords_destroy_array(&list, list.count) }
        let request = try AdminRequest(handle.pointer, RD_KAFKA_ADMIN_OP_DELETERECORDS, operation, timeout)
        rd_kafka_DeleteRecords(handle.pointer, &list, list.count, request.options, request.queue)
        let event = try request.answer()
        try event.throwFirstDeletionError(operation)
    }
}
