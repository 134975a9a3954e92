import ChangeData
import Kafka

/// The topics that records go to: opened, made where they are missing, their limits known.
struct TopicDirectory: ~Copyable {
    private struct Entry {
        var topic: TransactionalProducer.Topic
        /// What the topic takes of one batch, bytes.
        var limit: Int
    }
    private var entries: [Entry] = []
    private(set) var progress: TransactionalProducer.Topic
    private let settings: StreamSettings
    private let memory: SessionMemory
    private let maker: TopicMaker
    private let hanging: HangingTransactions
    /// The topics in which nothing of an earlier producer can be open.
    private var settled: Set<String> = []
    /// Of those, the ones that the producer has not been asked to open.
    private var foreseen: Set<String> = []

    init(
        _ settings: StreamSettings, _ services: StreamServices, _ memory: SessionMemory, maker: TopicMaker,
        producer: TransactionalProducer
    ) throws(KafkaError) {
        progress = try producer.topic(settings.progressTopic, timeout: .seconds(30))
        self.settings = settings
        self.memory = memory
        self.maker = maker
        hanging = HangingTransactions(settings, services, maker.admin)
    }

    /// Ends what an earlier producer has left open, before anything is written.
    /// - Parameters:
    ///   - known: partitions of topics that records may go to, as far as they can be foreseen.
    ///   - producer: has fenced all others, and has no transaction open.
    ///   - held: what is known to be in Kafka, asked for only where something was left open.
    mutating func settle(
        _ known: [TopicPartition], by producer: TransactionalProducer,
        held: () throws(SessionFailure) -> HangingTransactions.Held
    ) throws(SessionFailure) {
        var topics = Set(known.map(\.topic))
        var partitions = progress.all + known
        let unsettled = memory.unsettledTopics
        for name in unsettled.subtracting(topics) {
            do throws(KafkaError) {
                partitions += try producer.topic(name, timeout: .seconds(30)).all
                topics.insert(name)
            } catch {
                // It was deleted, and with it what was open there.
                guard error.reason == .unknownTopic else { throw StreamFailures.session(error) }
            }
        }
        let found = try StreamFailures.kafka { () throws(KafkaError) in try hanging.find(in: partitions) }
        if !found.isEmpty {
            let held = try held()
            try StreamFailures.kafka { () throws(KafkaError) in
                try hanging.end(found, of: partitions, held: held, by: producer)
            }
        }
        // All partitions have been asked about, and seldom will one be again.
        try StreamFailures.kafka { () throws(KafkaError) in try maker.admin.forget() }
        memory.settled(unsettled)
        settled = topics
        foreseen = topics
    }

    subscript(index: Int) -> TransactionalProducer.Topic { entries[index].topic }

    /// Whether brokers must be asked before the topics that records name for the first time are open.
    func mustAsk(upTo count: Int, names: [String], _ producer: TransactionalProducer, _ pins: PartitionPins) -> Bool {
        unopened(names, upTo: count).contains { live in
            let name = settings.topic(live)
            guard let topic = producer.opened(name), !foreseen.contains(name) else { return true }
            return !maker.hasDescribed(name) || !settled.contains(name)
                || !pins.agree(with: name, count: topic.partitions)
        }
    }

    private func unopened(_ names: [String], upTo count: Int) -> ArraySlice<String> {
        names[min(entries.count, names.count)..<min(count, names.count)]
    }

    /// Opens the topics that records name for the first time.
    mutating func prepare(
        upTo count: Int, names: [String], producer: TransactionalProducer, pins: inout PartitionPins
    ) throws(SessionFailure) {
        try lookUp(unopened(names, upTo: count), producer)
        while entries.count < min(count, names.count) {
            let live = names[entries.count]
            let name = settings.topic(live)
            let limit: Int
            do throws(TopicMaker.Problem) {
                limit = try maker.ensure(name, like: settings.replay == nil ? nil : live)
            } catch { throw error.failure }
            guard settings.fits(limit) else {
                memory.noteLimit(limit)
                throw .retry(
                    component: .kafka,
                    reason: "topic \(name) takes \(limit) bytes of a batch: batches are smaller from now on")
            }
            guard settings.clientTakes(limit) else {
                memory.noteLargest(limit)
                throw .retry(
                    component: .kafka,
                    reason:
                        "topic \(name) takes \(limit) bytes of a batch, which nobody foresaw: the client takes as many from now on"
                )
            }
            let topic = try StreamFailures.kafka { () throws(KafkaError) in
                try producer.topic(name, timeout: .seconds(30))
            }
            try requireSettled(topic)
            try pin(topic, &pins)
            entries.append(Entry(topic: topic, limit: limit))
        }
    }

    /// Opens those that will be needed in one request, and as many more of those that are foreseen as are open: where there are a
    /// thousand, each is named for the first time while others wait.
    private mutating func lookUp(_ names: ArraySlice<String>, _ producer: TransactionalProducer) throws(SessionFailure)
    {
        var wanted = names.map { settings.topic($0) }.filter { foreseen.remove($0) != nil }
        guard !wanted.isEmpty else { return }
        while wanted.count < names.count + entries.count, let more = foreseen.popFirst() { wanted.append(more) }
        try StreamFailures.kafka { () throws(KafkaError) in try producer.lookUp(wanted, timeout: .seconds(30)) }
    }

    /// A topic that nobody foresaw: what is open in it is ended by the next session, before that one writes anything.
    private func requireSettled(_ topic: TransactionalProducer.Topic) throws(SessionFailure) {
        guard !settled.contains(topic.name) else { return }
        let isOpen = try StreamFailures.kafka { () throws(KafkaError) in try hanging.isOpen(topic.all) }
        guard isOpen else { return }
        memory.noteUnsettled(topic.name)
        throw .retry(component: .kafka, reason: "a transaction is open in topic \(topic.name)")
    }

    private func pin(_ topic: TransactionalProducer.Topic, _ pins: inout PartitionPins) throws(SessionFailure) {
        // Dead letters have no key of a row, whose order another count would break.
        guard topic.name != settings.deadLetterTopic else { return }
        let judged = try StreamFailures.kafka { () throws(KafkaError) in
            try pins.judge(
                topic.name, count: topic.partitions,
                isEmpty: { () throws(KafkaError) in try maker.isEmpty(topic.name, partitions: topic.partitions) })
        }
        guard case .changed(let before) = judged else { return }
        throw .exit(
            AgentExit(
                .configuration,
                "topic \(topic.name) \(PartitionPins.text(of: topic.partitions, before: before))",
                details: ["order per key does not hold over the change; readers must expect that"],
                hints: [
                    "sluice init --accept-gap (accepts the new number; stop the agent first)",
                    "choose another topic with kafka.topic",
                ]))
    }

    /// How many topics are open.
    var count: Int { entries.count }

    /// The same topics, of another producer, which has fenced the one before.
    /// - Parameter stored: what this process has seen committed.
    /// - Returns: a topic that has another number of partitions than the producer before spread its keys over. Nothing may be
    ///   written then: the next session judges it.
    mutating func reopen(
        by producer: TransactionalProducer, after stored: StoredPosition
    ) throws(KafkaError) -> String? {
        try producer.lookUp(
            [settings.progressTopic] + entries.map(\.topic.name), timeout: .seconds(30))
        let position = try producer.topic(settings.progressTopic, timeout: .seconds(30))
        var opened: [TransactionalProducer.Topic] = []
        for entry in entries { opened.append(try producer.topic(entry.topic.name, timeout: .seconds(30))) }
        let partitions = position.all + opened.flatMap(\.all)
        let found = try hanging.find(in: partitions)
        if !found.isEmpty {
            try hanging.end(found, of: partitions, held: HangingTransactions.Held(stored: stored), by: producer)
        }
        // Not before all has gone well: what has changed would not show at the next attempt.
        var changed: String?
        progress = position
        for (index, topic) in opened.enumerated() {
            if topic.partitions != entries[index].topic.partitions { changed = topic.name }
            entries[index].topic = topic
        }
        return changed
    }

    /// Whether all that was written is decided, in every partition.
    func areSettled() throws(KafkaError) -> Bool { try hanging.find(in: all).isEmpty }

    private var all: [TopicPartition] { progress.all + entries.flatMap(\.topic.all) }

    /// The largest batch that brokers take, bytes, where that is known.
    var requestLimit: Int? { maker.requestLimit }

    /// The first record of these that its topic cannot take, uncompressed, with that topic's limit.
    func firstTooLarge(_ chunk: RecordChunk, _ records: Range<Int>) -> (index: Int, size: Int, limit: Int)? {
        let all = chunk.records
        for index in records {
            let record = all[index]
            let size = record.payloadCount + (record.link?.count ?? 0) + 128
            if size > entries[record.topic].limit { return (index, size, entries[record.topic].limit) }
        }
        return nil
    }
}

extension TransactionalProducer.Topic {
    /// All its partitions.
    var all: [TopicPartition] { (0..<partitions).map { TopicPartition(name, $0) } }
}
