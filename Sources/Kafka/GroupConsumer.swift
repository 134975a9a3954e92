internal import CKafka

/// A member of a consumer group, which reads committed records of the partitions that the group gives it.
///
/// Every change of the assignment is an event, and the caller answers it: with offsets for what was given, with an
/// acknowledgement for what was taken. Offsets are never reset, stored or committed on their own. One thread owns it, and
/// polls at least every `max.poll.interval.ms` (1 minute).
public final class GroupConsumer {
    /// How the members of a group divide partitions. All members of one group must use the same.
    public enum Assignment: Sendable {
        /// Every change takes all partitions back and gives them out anew: the simplest to reason about.
        case eager
        /// Only the partitions that move are taken back.
        case cooperative
    }

    private enum Change {
        case assigned
        case revoked([TopicPartition])
    }

    let source: RecordSource
    private let assignment: Assignment
    /// Which event the caller has not answered yet.
    private var unanswered: Change?
    /// Partitions whose fetched records were dropped by a pause.
    private var dropped: Set<TopicPartition> = []
    private var isClosed = false

    private var client: OpaquePointer { source.batch.client.pointer }

    /// Makes the client and joins the group in the background; the first event comes from `poll`.
    public init(
        _ settings: KafkaSettings, group: String, topics: [String], assignment: Assignment = .eager,
        _ options: ReaderOptions = ReaderOptions(), events: KafkaEvents = .ignored
    ) throws(KafkaError) {
        let client = try ClientHandle.reader(
            settings, options, events: events, rebalance: true, operation: "group \(group)",
            more: Self.defaults(under: settings) + [
                (name: "group.id", value: group),
                // Round robin, not range: with range every topic's partition 0 goes to the same member.
                (
                    name: "partition.assignment.strategy",
                    value: assignment == .eager ? "roundrobin" : "cooperative-sticky"
                ),
            ])
        if assignment == .cooperative { client.context.joinsCooperatively() }
        rd_kafka_poll_set_consumer(client.pointer)
        guard let queue = rd_kafka_queue_get_consumer(client.pointer) else {
            throw KafkaError.invalid("group \(group)", "no queue")
        }
        self.assignment = assignment
        source = RecordSource(
            MessageBatch(client, owning: queue, capacity: options.batchRecords), queueBytes: options.queueBytes)
        try subscribe(to: topics)
    }

    /// What is better for us than librdkafka's defaults, as far as the user has not chosen.
    static func defaults(under settings: KafkaSettings) -> [(name: String, value: String)] {
        // May not be less than a session, which is the user's to choose.
        let isLongSession = settings.value(of: "session.timeout.ms").flatMap { Int($0) } ?? 0 > 60_000
        return [
            // A member that is gone is missed after 10 s, not 45; its heartbeats come from a thread of their own.
            ("session.timeout.ms", "10000"),
            // So long does a rebalance wait for members that it knows: a broker that stood still may know some that are gone, and
            // not miss them. We poll many times a second, and no answer to an event takes half as long; the default is 5 minutes.
            ("max.poll.interval.ms", isLongSession ? "300000" : "60000"),
            // A topic that is made later, as of a new table, is read soon: the default is a look every 5 minutes.
            ("topic.metadata.refresh.interval.ms", "10000"),
        ].filter { !settings.sets($0.0) }
    }

    /// Replaces the topics that are read; the group's next assignment follows.
    public func subscribe(to topics: [String]) throws(KafkaError) {
        let list = TopicPartitionList(topics.map { TopicPartition($0, -1) })
        if let error = KafkaError(list.pass { rd_kafka_subscribe(client, $0) }, operation: "subscribe") { throw error }
    }

    /// Shows up to `most` records, and none after those whose values reach `bytes` together; returns an event where there is one, else
    /// nil: when so much was shown, when none are left after some were, or when `timeout` has passed without any. A record whose `body`
    /// throws counts as shown.
    public func poll<E>(
        upTo most: Int = .max, bytes: Int = .max, timeout: Duration,
        _ body: (borrowing ConsumedRecord) throws(E) -> Void
    ) throws(E) -> ReaderEvent? {
        let client = client
        let event = try source.poll(
            upTo: most, bytes: bytes, timeout: timeout, wait: { _, timeout in rd_kafka_consumer_poll(client, timeout) },
            body)
        switch event {
        case .assigned: unanswered = .assigned
        case .revoked(let partitions), .lost(let partitions): unanswered = .revoked(partitions)
        default: break
        }
        return event
    }

    /// Answers `.assigned`, each partition with its offset. With eager assignment these are all partitions from here on.
    public func assign(at offsets: [PartitionOffset]) throws(KafkaError) {
        let list = TopicPartitionList(offsets)
        if assignment == .eager {
            source.table.unassignAll()
            dropped = []
            if let error = KafkaError(list.pass { rd_kafka_assign(client, $0) }, operation: "assign") { throw error }
        } else if let error = list.pass({ rd_kafka_incremental_assign(client, $0) }) {
            throw KafkaError(consuming: error, operation: "assign")
        }
        for offset in offsets { source.table.assign(offset.partition, at: offset.offset) }
        unanswered = nil
    }

    /// Answers `.revoked` and `.lost`: from here on others may read these partitions.
    public func acknowledgeRevocation() throws(KafkaError) {
        guard case .revoked(let partitions)? = unanswered else { return }
        unanswered = nil
        for partition in partitions {
            source.table.unassign(partition)
            dropped.remove(partition)
        }
        if assignment == .eager {
            source.table.unassignAll()
            if let error = KafkaError(rd_kafka_assign(client, nil), operation: "unassign") { throw error }
        } else if let error = TopicPartitionList(partitions).pass({ rd_kafka_incremental_unassign(client, $0) }) {
            throw KafkaError(consuming: error, operation: "unassign")
        }
    }

    /// The partitions that are read, each with the next offset to be shown.
    public var assigned: [PartitionOffset] { source.table.assigned }

    /// The next offset to be shown of a partition; nil where it is not assigned.
    public func position(of partition: TopicPartition) -> Int64? { source.table.next(of: partition) }

    /// The end of a partition as its last fetch has seen it; nil before one. Asks nobody.
    public func knownEnd(of partition: TopicPartition) -> Int64? {
        var low: Int64 = 0
        var high: Int64 = 0
        let code = rd_kafka_get_watermark_offsets(client, partition.topic, partition.partition, &low, &high)
        return code == RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0 ? high : nil
    }

    /// The partition of a record's slot.
    public func topicPartition(at slot: Int) -> TopicPartition { source.table[partition: slot] }

    /// Goes to another offset of an assigned partition, also of one that stands still after `.offsetOutOfRange`.
    public func seek(to offset: PartitionOffset, timeout: Duration) throws(KafkaError) {
        let list = TopicPartitionList([offset])
        if let error = list.pass({ rd_kafka_seek_partitions(client, $0, max(1, timeout.milliseconds)) }) {
            throw KafkaError(consuming: error, operation: "seek \(offset.partition)")
        }
        do throws(KafkaError) {
            try list.throwFirstError("seek")
        } catch {
            // A partition whose fetching has failed cannot be sought, only assigned anew.
            guard error.code == RD_KAFKA_RESP_ERR__STATE.rawValue, position(of: offset.partition) != nil else {
                throw error
            }
            try reassign(offset)
        }
        _ = drop([offset.partition])
        source.table.assign(offset.partition, at: offset.offset)
    }

    private func reassign(_ offset: PartitionOffset) throws(KafkaError) {
        if assignment == .eager {
            let others = assigned.filter { $0.partition != offset.partition }
            let code = TopicPartitionList(others + [offset]).pass { rd_kafka_assign(client, $0) }
            if let error = KafkaError(code, operation: "assign") { throw error }
        } else {
            let list = TopicPartitionList([offset])
            if let error = list.pass({ rd_kafka_incremental_unassign(client, $0) }) {
                throw KafkaError(consuming: error, operation: "unassign")
            }
            if let error = list.pass({ rd_kafka_incremental_assign(client, $0) }) {
                throw KafkaError(consuming: error, operation: "assign")
            }
        }
    }

    /// Asks the brokers whether they are there.
    /// - Throws: `KafkaError` where none answers in time.
    public func ask(timeout: Duration) throws(KafkaError) {
        _ = try source.batch.client.describeCluster(Deadline(after: timeout))
    }

    /// Shows no more records of these partitions until they are resumed, and fetches none.
    public func pause(_ partitions: [TopicPartition]) throws(KafkaError) {
        let list = TopicPartitionList(partitions)
        if let error = KafkaError(list.pass { rd_kafka_pause_partitions(client, $0) }, operation: "pause") {
            throw error
        }
        try list.throwFirstError("pause")
        dropped.formUnion(drop(partitions))
    }

    /// Goes on where the partitions were paused.
    public func resume(_ partitions: [TopicPartition], timeout: Duration = .seconds(10)) throws(KafkaError) {
        let list = TopicPartitionList(partitions)
        if let error = KafkaError(list.pass { rd_kafka_resume_partitions(client, $0) }, operation: "resume") {
            throw error
        }
        try list.throwFirstError("resume")
        for partition in partitions where dropped.remove(partition) != nil {
            guard let next = source.table.next(of: partition) else { continue }
            try seek(to: PartitionOffset(partition, offset: next), timeout: timeout)
        }
        if let first = partitions.first { FetcherAlarm.resumed(first, of: source.batch.client) }
    }

    /// Drops what was fetched of these partitions and not shown; says of which there was something.
    private func drop(_ partitions: [TopicPartition]) -> [TopicPartition] {
        let slots = Set(partitions.compactMap { source.table.slot(of: $0) })
        var dropped: Set<Int> = []
        _ = source.batch.drop { message in
            guard let slot = source.table.slot(of: message), slots.contains(slot) else { return false }
            dropped.insert(slot)
            return true
        }
        return dropped.map { source.table[partition: $0] }
    }

    // MARK: The group's offsets

    /// Stores offsets, each the next to read, with the text beside it, and waits for the coordinator's answer. An error
    /// `ILLEGAL_GENERATION` or `UNKNOWN_MEMBER_ID` says that the partitions belong to others by now.
    public func commit(_ offsets: [PartitionOffset], timeout: Duration) throws(KafkaError) {
        guard !offsets.isEmpty else { return }
        let deadline = Deadline(after: timeout)
        // A commit without a coordinator would be kept until it is found, for as long as a session, and freeing the client
        // would wait for it. Asking for the committed offset has a deadline of librdkafka's own: so it goes first.
        _ = try committed([offsets[0].partition], timeout: timeout)
        // A queue of its own, so that a late answer to an earlier commit is not taken for this one's.
        guard let queue = rd_kafka_queue_new(client) else { throw KafkaError.invalid("commit offsets", "no queue") }
        defer { rd_kafka_queue_destroy(queue) }
        let list = TopicPartitionList(offsets)
        if let error = KafkaError(
            list.pass { rd_kafka_commit_queue(client, $0, queue, nil, nil) }, operation: "commit offsets")
        {
            throw error
        }
        guard let event = rd_kafka_queue_poll(queue, deadline.milliseconds) else {
            throw KafkaError.timedOut("commit offsets", "no answer within \(timeout)", disposition: .indefinite)
        }
        defer { rd_kafka_event_destroy(event) }
        if let error = KafkaError(rd_kafka_event_error(event), operation: "commit offsets") { throw error }
        try TopicPartitionList.throwFirstError(in: rd_kafka_event_topic_partition_list(event), "commit offsets")
    }

    /// The group's offsets of these partitions; one that has none is left out.
    public func committed(
        _ partitions: [TopicPartition], timeout: Duration
    ) throws(KafkaError) -> [PartitionOffset] {
        let list = TopicPartitionList(partitions)
        let code = list.pass { rd_kafka_committed(client, $0, max(1, timeout.milliseconds)) }
        if let error = KafkaError(code, operation: "committed offsets") { throw error }
        try list.throwFirstError("committed offsets")
        return list.offsets()
    }

    /// Leaves the group, so that others need not wait for the session to end. True where that was done by `timeout`; after
    /// it, done or not, the consumer is of no use but to be freed, which never waits.
    @discardableResult
    public func close(timeout: Duration) -> Bool {
        guard !isClosed else { return true }
        isClosed = true
        let deadline = Deadline(after: timeout)
        source.batch.client.context.acknowledgeRebalances(cooperatively: assignment == .cooperative)
        if unanswered != nil { rd_kafka_assign(client, nil) }
        guard let queue = rd_kafka_queue_new(client) else { return false }
        defer { rd_kafka_queue_destroy(queue) }
        if let error = rd_kafka_consumer_close_queue(client, queue) {
            _ = KafkaError(consuming: error, operation: "close")
            return false
        }
        while rd_kafka_consumer_closed(client) == 0 {
            guard !deadline.hasPassed else { return false }
            // Not `rd_kafka_queue_poll_callback`: it asserts that no record is in the queue, and fetched ones are.
            if let message = rd_kafka_consume_queue(queue, min(50, deadline.milliseconds)) {
                rd_kafka_message_destroy(message)
            }
        }
        return true
    }
}
