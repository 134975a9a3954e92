internal import CKafka

/// Reads given partitions from given offsets, without a group and without leaving a trace on the brokers. One thread owns it.
public final class CommittedReader {
    private let source: RecordSource
    /// Looks at the high watermark, which a `read_committed` client is not told; made when first asked for.
    private var uncommitted: ClientHandle?
    private var topics: [String: OpaquePointer] = [:]
    private let queue: OpaquePointer
    private let settings: KafkaSettings
    private let events: KafkaEvents

    /// Makes the client; it connects in the background.
    public init(
        _ settings: KafkaSettings, _ options: ReaderOptions = ReaderOptions(), events: KafkaEvents = .ignored
    ) throws(KafkaError) {
        let client = try ClientHandle.reader(settings, options, events: events, operation: "reader")
        guard let queue = rd_kafka_queue_new(client.pointer) else {
            throw KafkaError.invalid("reader", "no queue")
        }
        self.settings = settings
        self.events = events
        self.queue = queue
        source = RecordSource(
            MessageBatch(client, owning: queue, capacity: options.batchRecords), queueBytes: options.queueBytes)
    }

    deinit {
        stop()
        for topic in topics.values { rd_kafka_topic_destroy(topic) }
    }

    /// Begins to fetch a partition at an offset, or goes to it where it is being read already.
    public func start(_ partition: TopicPartition, at offset: Int64) throws(KafkaError) {
        let operation = "read \(partition)"
        let topic = try topic(partition.topic)
        if source.table.next(of: partition) != nil { stop(partition) }
        if rd_kafka_consume_start_queue(topic, partition.partition, offset, queue) != 0,
            let error = KafkaError(rd_kafka_last_error(), operation: operation)
        {
            throw error
        }
        source.table.assign(partition, at: offset)
    }

    /// Ends the fetching of a partition; what was fetched of it is dropped.
    public func stop(_ partition: TopicPartition) {
        guard source.table.next(of: partition) != nil, let topic = topics[partition.topic] else { return }
        rd_kafka_consume_stop(topic, partition.partition)
        source.table.unassign(partition)
        let name = partition.topic
        _ = source.batch.drop { message in
            message.pointee.partition == partition.partition
                && message.pointee.rkt.map { String(cString: rd_kafka_topic_name($0)) } == name
        }
    }

    /// Ends all fetching.
    public func stop() {
        for assigned in source.table.assigned { stop(assigned.partition) }
    }

    /// Shows up to `most` records; returns an event where there is one, else nil: when `most` were shown, when none are left
    /// after some were, or when `timeout` has passed without any. A record whose `body` throws counts as shown.
    public func poll<E>(
        upTo most: Int = .max, timeout: Duration, _ body: (borrowing ConsumedRecord) throws(E) -> Void
    ) throws(E) -> ReaderEvent? {
        rd_kafka_poll(source.batch.client.pointer, 0)
        return try source.poll(
            upTo: most, timeout: timeout, wait: { rd_kafka_consume_queue($0, $1) }, body)
    }

    /// The partition of a record's slot.
    public func topicPartition(at slot: Int) -> TopicPartition { source.table[partition: slot] }

    /// The next offset to be shown of a partition that is being read.
    public func position(of partition: TopicPartition) -> Int64? { source.table.next(of: partition) }

    /// The ends of a partition now. The high watermark is asked for first: where `lastStable` has reached `high`, everything
    /// that was in the log before the call has been decided.
    public func bounds(of partition: TopicPartition, timeout: Duration) throws(KafkaError) -> PartitionBounds {
        let deadline = Deadline(after: timeout)
        if uncommitted == nil {
            var options = ReaderOptions()
            options.committedOnly = false
            uncommitted = try ClientHandle.reader(settings, options, events: events, operation: "bounds")
        }
        let high = try uncommitted?.ends(of: [partition], deadline)[partition]
        let low = try source.batch.client.begins(of: [partition], deadline)[partition]
        let stable = try source.batch.client.ends(of: [partition], deadline)[partition]
        guard let low, let stable, let high else { throw .doesNotExist(partition) }
        // A marker that was written in between is behind the first answer.
        return PartitionBounds(low: low, lastStable: stable, high: max(high, stable))
    }

    /// The first record at `offset` or behind it that this reader is shown; nil where there is none. Stops reading that
    /// partition.
    public func firstRecord(
        of partition: TopicPartition, from offset: Int64, timeout: Duration
    ) throws(KafkaError) -> StoredRecord? {
        let deadline = Deadline(after: timeout)
        let end = try bounds(of: partition, timeout: timeout).lastStable
        var first: StoredRecord?
        try read(partition, from: offset, to: end, deadline) { record in
            first = StoredRecord(copying: record)
            return false
        }
        return first
    }

    /// The last committed record of a partition, and the partition's ends when it was looked for. Where
    /// `bounds.hasOpenTransaction`, a newer record may yet be decided: wait, and ask again. Stops reading that partition.
    ///
    /// Looks back in growing steps, since the end of the log may hold aborted records and control records only.
    public func lastRecord(
        of partition: TopicPartition, timeout: Duration
    ) throws(KafkaError) -> (record: StoredRecord?, bounds: PartitionBounds) {
        let deadline = Deadline(after: timeout)
        let bounds = try bounds(of: partition, timeout: timeout)
        var step: Int64 = 100
        var from = bounds.lastStable
        while from > bounds.low {
            from = max(bounds.low, bounds.lastStable - step)
            step = step > Int64.max / 16 ? .max : step * 16
            if let record = try last(of: partition, from: from, to: bounds.lastStable, deadline) {
                return (record, bounds)
            }
        }
        return (nil, bounds)
    }

    private func last(
        of partition: TopicPartition, from start: Int64, to end: Int64, _ deadline: Deadline
    ) throws(KafkaError) -> StoredRecord? {
        var last: StoredRecord?
        try read(partition, from: start, to: end, deadline) { record in
            last = StoredRecord(copying: record)
            return true
        }
        return last
    }

    /// Shows the records from `start` on that lie before `end`, as long as `body` wants more.
    private func read(
        _ partition: TopicPartition, from start: Int64, to end: Int64, _ deadline: Deadline,
        _ body: (borrowing ConsumedRecord) -> Bool
    ) throws(KafkaError) {
        try self.start(partition, at: start)
        defer { stop(partition) }
        var next = start
        var wantsMore = true
        while next < end, wantsMore {
            let event = poll(timeout: deadline.remaining) { record in
                next = record.offset + 1
                // A record past `end` belongs to a later look.
                if wantsMore, record.offset < end { wantsMore = body(record) }
            }
            switch event {
            case .partitionEnd(_, let offset): next = max(next, offset)
            case .error(let error, _) where error.disposition != .retriable: throw error
            default: break
            }
            if next < end, wantsMore, deadline.hasPassed {
                throw KafkaError.timedOut("read \(partition)", "offset \(next) of \(end) within the deadline")
            }
        }
    }

    private func topic(_ name: String) throws(KafkaError) -> OpaquePointer {
        if let topic = topics[name] { return topic }
        guard let topic = rd_kafka_topic_new(source.batch.client.pointer, name, nil) else {
            throw KafkaError(
                code: rd_kafka_last_error(), operation: "read \(name)", text: "no handle", disposition: .permanent)
        }
        topics[name] = topic
        return topic
    }
}
