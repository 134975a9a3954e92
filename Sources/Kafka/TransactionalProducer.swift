internal import CKafka

/// A producer whose records become visible to `read_committed` readers all at once, or never.
///
/// One thread owns it. Freeing it never waits for brokers (`ClientHandle` says how), drops what was not sent, and aborts
/// nothing at the coordinator: the next `initTransactions` of the same id does. After it no borrowed memory is in use.
public final class TransactionalProducer {
    /// A topic that this producer knows to exist.
    public struct Topic: Sendable, Hashable {
        let index: Int
        /// Where its first partition is in the ledger.
        let place: Int
        /// The topic's name.
        public let name: String
        /// How many partitions it had when it was opened: keys are spread over these, also when others are added.
        public let partitions: Int32

        /// A partition that was added later has no place.
        func place(of partition: Int32) -> Int {
            (0..<partitions).contains(partition) ? place + Int(partition) : .max
        }
    }

    /// Who keeps the memory of a value.
    public enum Retention: Sendable {
        /// librdkafka copies the value: the memory is free again when `produce` returns.
        case copied
        /// Nothing is copied: the value's bytes must stay, unchanged, until a commit or abort has returned *and*
        /// `outstanding` is 0, or until the producer has been freed.
        case borrowed
    }

    /// Whether a record was taken.
    public enum Outcome: Sendable, Hashable {
        /// It is on its way.
        case queued
        /// `queueBytes` are waiting: poll, and offer the record again.
        case queueFull
    }

    let handle: ClientHandle
    private let flight: FlightLedger
    private var topics: [(topic: Topic, handle: OpaquePointer)] = []
    private var indices: [String: Int] = [:]
    /// Whether `begin` has succeeded and neither commit nor abort has.
    public private(set) var isInTransaction = false

    /// Makes the client; it connects in the background. Throws for settings that contradict one another.
    public init(
        _ settings: KafkaSettings, _ options: ProducerOptions, events: KafkaEvents = .ignored
    ) throws(KafkaError) {
        let configuration = ClientConfiguration()
        do throws(KafkaSettings.Refusal) {
            try settings.apply(to: configuration)
            try options.apply(to: configuration, settings)
        } catch {
            throw KafkaError.refused("producer", error.description)
        }
        flight = FlightLedger(batch: options.batchBytes)
        handle = try ClientHandle(
            RD_KAFKA_PRODUCER, configuration, events: events, flight: flight, operation: "producer")
    }

    deinit {
        // Topics before the client: the client's last reference to them must be its own.
        for topic in topics { rd_kafka_topic_destroy(topic.handle) }
    }

    // MARK: Topics

    /// A topic that was looked up before.
    public func opened(_ name: String) -> Topic? { indices[name].map { topics[$0].topic } }

    /// Looks a topic up on the brokers, without creating it. Throws with reason `.unknownTopic` where there is none: a record
    /// to such a topic would fail only at the commit.
    public func topic(_ name: String, timeout: Duration) throws(KafkaError) -> Topic {
        if let topic = opened(name) { return topic }
        let topic = try makeHandle(name)
        do throws(KafkaError) {
            // Also primes the client's cache, without which the first record of a topic waits a second (2.0.2).
            return add(name, topic, try handle.partitionCount(of: topic, name: name, Deadline(after: timeout)))
        } catch {
            rd_kafka_topic_destroy(topic)
            throw error
        }
    }

    /// Looks several topics up in one request, so that `topic` knows them. Those that do not exist are left out.
    public func lookUp(_ names: [String], timeout: Duration) throws(KafkaError) {
        let new = Set(names).subtracting(indices.keys)
        guard !new.isEmpty else { return }
        var handles: [String: OpaquePointer] = [:]
        defer { for topic in handles.values { rd_kafka_topic_destroy(topic) } }
        for name in new { handles[name] = try makeHandle(name) }
        for (name, partitions) in try handle.partitionCounts(of: new, Deadline(after: timeout)) {
            if let topic = handles.removeValue(forKey: name) { _ = add(name, topic, partitions) }
        }
    }

    private func makeHandle(_ name: String) throws(KafkaError) -> OpaquePointer {
        guard let topic = rd_kafka_topic_new(handle.pointer, name, nil) else {
            throw KafkaError(
                code: rd_kafka_last_error(), operation: "topic \(name)", text: "no handle", disposition: .permanent)
        }
        return topic
    }

    private func add(_ name: String, _ topic: OpaquePointer, _ partitions: Int32) -> Topic {
        let opened = Topic(
            index: topics.count, place: flight.open(partitions: partitions), name: name, partitions: partitions)
        indices[name] = topics.count
        topics.append((topic: opened, handle: topic))
        return opened
    }

    // MARK: Records

    /// The partition that Java's clients choose for a key; the first where there is none.
    public func partition(for key: Span<UInt8>?, of topic: Topic) -> Int32 {
        guard topic.partitions > 1, let key else { return 0 }
        return murmur2Partition(ofKey: key, partitions: topic.partitions)
    }

    /// Puts a record on its way to a partition, or, where `partition` is nil, to the one that Java's clients choose for this
    /// key, the first where there is none. The key and the headers are always copied. A failure that shows later is thrown by the commit.
    ///
    /// Throws `.permanent` with reason `.messageTooLarge` for a record above `recordBytes`; `.abortable` where the transaction
    /// has already failed; `.fenced` or `.fatal` where the producer has.
    public func produce(
        to topic: Topic, partition: Int32? = nil, key: Span<UInt8>?, value: Span<UInt8>?,
        header first: RecordHeader? = nil, header second: RecordHeader? = nil, header third: RecordHeader? = nil,
        header fourth: RecordHeader? = nil, retention: Retention = .copied
    ) throws(KafkaError) -> Outcome {
        let partition = partition ?? self.partition(for: key, of: topic)
        let place = topic.place(of: partition)
        let key = bytes(of: key)
        let value = bytes(of: value)
        let error = sluice_kafka_produce(
            handle.pointer, topics[topic.index].handle, partition, place,
            retention == .copied ? sluice_kafka_flag_copy : 0, key.start, key.count, value.start, value.count,
            raw(first), raw(second), raw(third), raw(fourth))
        guard let error else {
            flight.given(key.count + value.count, at: place)
            return .queued
        }
        if rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL {
            rd_kafka_error_destroy(error)
            return .queueFull
        }
        throw classified(KafkaError(consuming: error, operation: "produce to \(topic.name)"))
    }

    /// Serves background errors; waits at most `timeout` for one. Call it while waiting for room in the queue.
    public func poll(_ timeout: Duration = .zero) { rd_kafka_poll(handle.pointer, timeout.milliseconds) }

    /// Records that are not acknowledged, and events that are not polled.
    public var outstanding: Int { Int(rd_kafka_outq_len(handle.pointer)) }

    /// What the client has of a partition, and of all.
    public func load(_ topic: Topic, _ partition: Int32) -> ProducerLoad { flight.load(at: topic.place(of: partition)) }

    /// What the client has of all partitions.
    public var load: ProducerLoad { flight.load(at: .max) }

    /// How many connections to brokers have ended since this producer was made, but for those that were idle for a minute. Known
    /// at once, and before another connection to the same broker is made.
    public var connectionsLost: Int { handle.context.connectionsLost }

    /// The records that brokers have refused since this was last called; an abortable commit is explained by them.
    public func takeDeliveryFailures() -> DeliveryFailures? { handle.context.takeDeliveryFailures() }

    // MARK: Transactions

    /// Fences every older producer of the same id and ends its open transaction. Retries by itself until `timeout`; then
    /// throws a `.retriable` error, and may be called again.
    public func initTransactions(timeout: Duration) throws(KafkaError) {
        try retrying("initTransactions", timeout, past: .retriable) { rd_kafka_init_transactions($0, $1) }
    }

    /// Opens a transaction. No request is sent: the coordinator learns of it with the first record.
    public func begin() throws(KafkaError) {
        if let error = rd_kafka_begin_transaction(handle.pointer) {
            throw classified(KafkaError(consuming: error, operation: "begin"))
        }
        _ = takeDeliveryFailures()
        isInTransaction = true
    }

    /// Sends what is waiting and makes it all visible. `.indefinite` where it was not known to be done, or not, by `timeout`;
    /// `.abortable` where a record was refused.
    public func commit(timeout: Duration) throws(KafkaError) {
        do throws(KafkaError) {
            try retrying("commit", timeout, past: .indefinite) { rd_kafka_commit_transaction($0, $1) }
        } catch {
            // Where the transaction has failed before the call, it answers at once: the reports that explain it still wait.
            if error.disposition == .abortable { poll(.milliseconds(50)) }
            throw error
        }
        isInTransaction = false
    }

    /// Drops what is waiting and hides what was sent. `.indefinite` where it was not done by `timeout`.
    public func abort(timeout: Duration) throws(KafkaError) {
        try retrying("abort", timeout, past: .indefinite) { rd_kafka_abort_transaction($0, $1) }
        isInTransaction = false
    }

    /// Waits until every record is acknowledged or refused. A commit does so by itself.
    public func flush(timeout: Duration) throws(KafkaError) {
        if let error = KafkaError(rd_kafka_flush(handle.pointer, timeout.milliseconds), operation: "flush") {
            throw error
        }
    }

    /// librdkafka's calls may be made again after a retriable error, and go on where they were: so they are, until the
    /// deadline, and only then is it the caller's turn.
    private func retrying(
        _ operation: String, _ timeout: Duration, past: KafkaError.Disposition,
        _ call: (OpaquePointer, Int32) -> OpaquePointer?
    ) throws(KafkaError) {
        let deadline = Deadline(after: timeout)
        while true {
            // At least 1 ms: 0 is refused as a state error by some versions.
            guard let failure = call(handle.pointer, max(1, deadline.milliseconds)) else { return }
            let error = classified(KafkaError(consuming: failure, operation: operation))
            guard error.disposition == .retriable else { throw error }
            guard !deadline.hasPassed else {
                throw error.with(past, adding: "given up after \(timeout)")
            }
            // Between attempts: serves errors and keeps a call that fails at once from becoming a spin.
            rd_kafka_poll(handle.pointer, min(50, deadline.milliseconds))
        }
    }

    /// The error with what this producer knows: a fatal state explains every later error, and a state error inside a
    /// transaction means that the transaction has failed.
    private func classified(_ error: KafkaError) -> KafkaError {
        var buffer = [CChar](repeating: 0, count: 512)
        let cause = rd_kafka_fatal_error(handle.pointer, &buffer, buffer.count)
        if cause != RD_KAFKA_RESP_ERR_NO_ERROR {
            return KafkaError(
                code: cause, operation: error.operation, text: text(of: buffer),
                disposition: KafkaError.isFenced(cause) ? .fenced : .fatal)
        }
        if error.code == RD_KAFKA_RESP_ERR__STATE.rawValue, error.disposition == .permanent {
            return error.with(isInTransaction ? .abortable : .fatal)
        }
        return error
    }
}
