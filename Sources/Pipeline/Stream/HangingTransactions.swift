import ChangeData
import Kafka
import Telemetry
import Threads

/// Ends what an earlier producer of our transactional id has left open and its coordinator has forgotten.
///
/// A coordinator that finds no leader of a partition takes it for deleted, and ends the transaction without a marker there: Kafka
/// 4.3 where all replicas of the partition are away for a moment, as with one broker that restarts ("likely deleted already and
/// hence can be skipped"). Nobody ends that transaction any more. Readers of committed records wait at it for ever, and the next
/// marker of the same producer ends it with the outcome of *its* transaction: rows that were sent again since would be there
/// twice, or rows that were committed be gone.
///
/// So before a new producer writes anything, a transaction of its own takes these partitions in, and its marker is the one that
/// they lack. `init_transactions` has returned by then, so that no marker is still on its way. Whether the transaction was
/// committed or aborted the log does not say; where the stream stands does: see `wasCommitted`.
struct HangingTransactions {
    /// What is known to be in Kafka, beside what the progress topic shows.
    struct Held {
        /// What this process has seen committed.
        var stored: StoredPosition?
        /// What the slot was told to forget (C4).
        var confirmed = LSN(0)
    }

    /// A partition, and the last record in it.
    private struct Found {
        var partition: TopicPartition
        var record: StoredRecord
    }

    private let settings: StreamSettings
    private let services: StreamServices
    private let admin: KafkaAdmin

    /// How long a transaction must stay open to be nobody's: one that another producer has open in a topic of ours may end.
    private static let patience: Int64 = .seconds(2)
    private static let timeout = Duration.seconds(30)

    init(_ settings: StreamSettings, _ services: StreamServices, _ admin: KafkaAdmin) {
        self.settings = settings
        self.services = services
        self.admin = admin
    }

    /// Whether records in one of these partitions wait for the end of a transaction.
    func isOpen(_ partitions: [TopicPartition]) throws(KafkaError) -> Bool {
        try !admin.undecided(partitions, timeout: Self.timeout).isEmpty
    }

    /// The partitions in which one hangs. Only for a producer that has fenced all others and has no transaction open.
    ///
    /// Not those whose first open transaction is somebody else's: what is behind it may have been committed long ago, and would
    /// be there twice.
    func find(in partitions: [TopicPartition]) throws(KafkaError) -> [TopicPartition] {
        let all = try undecided(partitions, for: Self.patience)
        guard !all.isEmpty else { return [] }
        let reader = try reader(committedOnly: false)
        var ours: [TopicPartition] = []
        var others: [TopicPartition] = []
        for one in all {
            let first = try reader.firstRecord(of: one.partition, from: one.offset, timeout: Self.timeout)
            guard let first else { continue }
            if isOurs(first, of: one.partition) {
                ours.append(one.partition)
            } else {
                others.append(one.partition)
            }
        }
        if !others.isEmpty {
            services.log.warning(
                "transactions of others are open in topics of ours", ["partitions": Self.names(others)])
        }
        return ours
    }

    /// Whether a producer of our transactional id may have written it.
    private func isOurs(_ record: StoredRecord, of partition: TopicPartition) -> Bool {
        partition.topic == settings.progressTopic
            ? record.key == Array(settings.progressKey.utf8) : record.headers["sluice.pos"] != nil
    }

    /// Ends them in the partitions in which they were found.
    /// - Parameter all: the partitions that were looked at.
    func end(
        _ hanging: [TopicPartition], of all: [TopicPartition], held: Held, by producer: TransactionalProducer
    ) throws(KafkaError) {
        services.state.failed("kafka", kind: "hanging_transaction")
        var known = held
        if case .position(let shown) = try ProgressStore(settings, events: services.kafkaEvents)
            .readIfThere(timeout: Self.timeout).found, shown.isAhead(of: held.stored)
        {
            known.stored = shown
        }
        let found = try lastRecords(of: hanging, committedOnly: false)
        // A position that was committed tells of the rest of its transaction.
        for one in found {
            if let own = Self.position(one.record, of: one.partition, settings), own.isAhead(of: known.stored),
                Self.wasCommitted(one.record, of: one.partition, settings, known)
            {
                known.stored = own
            }
        }
        let isDone = try isSeen(past: known, in: all.filter { !hanging.contains($0) })
        let committed = found.filter { isDone || Self.wasCommitted($0.record, of: $0.partition, settings, known) }
        let aborted = found.filter { one in !committed.contains { $0.partition == one.partition } }
        if !aborted.isEmpty {
            services.log.warning(
                "ending a transaction that its coordinator has forgotten: it is aborted",
                ["partitions": Self.names(aborted.map(\.partition))])
            // A compacted topic takes no record without a key. Nobody reads this one.
            try write(
                aborted.map { Found(partition: $0.partition, record: StoredRecord(key: Array("sluice".utf8))) },
                by: producer)
            try producer.flush(timeout: Self.timeout)
            try producer.abort(timeout: Self.timeout)
        }
        if !committed.isEmpty {
            services.log.warning(
                "ending a transaction that its coordinator has forgotten: it was committed, its last records are repeated",
                ["partitions": Self.names(committed.map(\.partition))])
            try write(committed, by: producer)
            try producer.commit(timeout: Self.timeout)
        }
        let left = try undecided(hanging, for: Self.patience)
        guard !left.isEmpty else { return }
        services.log.warning("transactions are open yet", ["partitions": Self.names(left.map(\.partition))])
    }

    /// The position that a record of the progress topic holds.
    private static func position(
        _ record: StoredRecord, of partition: TopicPartition, _ settings: StreamSettings
    ) -> StoredPosition? {
        guard partition.topic == settings.progressTopic else { return nil }
        return record.value.flatMap { ProgressRecord.decode($0) }
    }

    /// Whether the transaction of the last record of a partition was committed: it holds nothing past the position that is in
    /// Kafka, or that the slot was told to forget.
    ///
    /// Of a part of a split transaction the slot says nothing by itself, since it leaves the LSN where it was. But where the slot
    /// was told of an LSN that no reader sees yet, this is the transaction that moved it there.
    static func wasCommitted(
        _ record: StoredRecord, of partition: TopicPartition, _ settings: StreamSettings, _ held: Held
    ) -> Bool {
        if partition.topic == settings.progressTopic {
            guard let position = position(record, of: partition, settings) else { return false }
            let moved = held.stored.map { $0.epoch == position.epoch && $0.lsn < position.lsn } ?? false
            if position.ordinal == 0 || moved, position.lsn <= held.confirmed { return true }
            return !position.isAhead(of: held.stored)
        }
        guard let header = record.headers["sluice.pos"], let at = RecordPosition(parsing: header.span) else {
            return false
        }
        if at.position.isBehind(held.confirmed) { return true }
        guard let stored = held.stored else { return false }
        // A replay's records are of the epochs that they had, its position is one of LSNs alone.
        var position = at.position
        if settings.replay != nil { position.epoch = stored.epoch }
        return stored.covers(position)
    }

    /// Whether readers see a record past what is known to be committed: its transaction was.
    private func isSeen(past held: Held, in partitions: [TopicPartition]) throws(KafkaError) -> Bool {
        for last in try lastRecords(of: partitions, committedOnly: true)
        where last.partition.topic != settings.progressTopic && last.record.headers["sluice.pos"] != nil
            && !Self.wasCommitted(last.record, of: last.partition, settings, held)
        {
            return true
        }
        return false
    }

    private func lastRecords(
        of partitions: [TopicPartition], committedOnly: Bool
    ) throws(KafkaError) -> [Found] {
        let reader = try reader(committedOnly: committedOnly)
        var found: [Found] = []
        for partition in partitions {
            if let record = try reader.lastRecord(of: partition, timeout: Self.timeout).record {
                found.append(Found(partition: partition, record: record))
            }
        }
        return found
    }

    private func reader(committedOnly: Bool) throws(KafkaError) -> CommittedReader {
        var options = ReaderOptions()
        options.committedOnly = committedOnly
        return try CommittedReader(settings.kafka, options, events: services.kafkaEvents)
    }

    /// Puts records into a transaction of their own, which stays open.
    private func write(_ all: [Found], by producer: TransactionalProducer) throws(KafkaError) {
        try producer.begin()
        for one in all {
            let topic = try producer.topic(one.partition.topic, timeout: Self.timeout)
            let record = one.record
            let position = record.headers["sluice.pos"]
            let (newKey, oldKey) = (record.headers["__debezium.newkey"], record.headers["__debezium.oldkey"])
            let link = newKey ?? oldKey
            let split = record.headers["sluice.split"]
            let replay = record.headers["sluice.replay"]
            // Spans of locals: a header must not outlive what it shows.
            let bytes = (position ?? [], link ?? [], split ?? [], replay ?? [])
            while try producer.produce(
                to: topic, partition: one.partition.partition, key: record.key?.span, value: record.value?.span,
                header: position == nil ? nil : RecordHeader("sluice.pos", bytes.0.span),
                header: link == nil
                    ? nil : RecordHeader(newKey == nil ? "__debezium.oldkey" : "__debezium.newkey", bytes.1.span),
                header: split == nil ? nil : RecordHeader("sluice.split", bytes.2.span),
                header: replay == nil ? nil : RecordHeader("sluice.replay", bytes.3.span)) == .queueFull
            { producer.poll(.milliseconds(10)) }
        }
    }

    /// Those that stay undecided for so long, nanoseconds.
    private func undecided(_ partitions: [TopicPartition], for patience: Int64) throws(KafkaError) -> [PartitionOffset]
    {
        let wakeup = Wakeup()
        let until = services.clock.monotonic() &+ patience
        var left = try admin.undecided(partitions, timeout: Self.timeout)
        while !left.isEmpty, services.clock.monotonic() < until {
            wakeup.wait(milliseconds: 100)
            left = try admin.undecided(left.map(\.partition), timeout: Self.timeout)
        }
        return left
    }

    private static func names(_ partitions: [TopicPartition]) -> LogValue {
        .init(partitions.map(\.description).joined(separator: " "))
    }
}
