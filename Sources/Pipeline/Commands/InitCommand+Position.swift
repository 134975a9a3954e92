import ChangeData
import Kafka
import Postgres
import Threads

/// The stored position: read, judged again once nobody else can write it, and written.
extension InitCommand {
    /// - Parameter isFenced: nobody else can commit any more: what is decided is waited for until it can be read.
    func position(isFenced: Bool) throws(AgentExit) -> StoredPosition? {
        let found = try kafka { () throws(KafkaError) in
            let store = try ProgressStore(settings, events: services.kafkaEvents)
            let wakeup = Wakeup()
            var (found, isOpen) = try store.readIfThere(timeout: .seconds(20))
            for _ in 0..<100 where isFenced && isOpen {
                wakeup.wait(milliseconds: 100)
                (found, isOpen) = try store.readIfThere(timeout: .seconds(20))
            }
            return found
        }
        switch found {
        case .nothing: return nil
        case .position(let position): return position
        case .unreadable(let why):
            throw StartRefusal.unreadable(settings.progressTopic, why).exit
        }
    }

    /// The position as it is now: `init` may have waited for hours since it judged it, for transactions of others.
    /// - Parameter isFenced: whoever wrote it before can do so no more.
    func positionNow(after judged: StoredPosition?, isFenced: Bool) throws(AgentExit) -> StoredPosition? {
        let found = try position(isFenced: isFenced)
        guard InitDecision.mayGoOn(from: judged, to: found) else { throw goneOn }
        return found
    }

    /// What was judged holds no more.
    var goneOn: AgentExit {
        AgentExit(
            .unavailable, "an agent or another init has gone on meanwhile: what was judged holds no more",
            hints: ["sluice init, again"])
    }

    /// Notes what was changed under a stream that goes on: how many partitions its topics have, and which tables were added (with a
    /// topic, these would be taken for ones that came back).
    ///
    /// Topics whose number of partitions has changed are refused unless that is accepted: the order of their keys does not hold over
    /// the change, so that a human has to take note. So is another spelling of keys and values.
    /// - Parameters:
    ///   - judged: the position that was found to have no gap.
    ///   - fenced: the producer, where it was made already.
    /// - Returns: the position that there is now.
    func note(
        _ judged: StoredPosition, _ source: Source, isAccepted: Bool, _ fenced: TransactionalProducer?
    ) throws(AgentExit) -> StoredPosition {
        // An agent that has run in between has noted what it saw.
        guard let known = try positionNow(after: judged, isFenced: fenced != nil) else { throw goneOn }
        var changed: [String] = []
        let pins = try pins(source, after: known) { topic, count, maker throws(KafkaError) in
            var pins = known.partitions
            let fits = try pins.judge(
                topic, count: count, isEmpty: { () throws(KafkaError) in try maker.isEmpty(topic, partitions: count) })
            guard case .changed(let before) = fits else { return }
            changed.append("topic \(topic): \(count) partitions, it had \(before); order per key holds from here on")
        }
        let respelled = known.respelled(by: settings.format)
        if !isAccepted, let exit = known.refusal(of: settings.format) { throw exit }
        for text in respelled?.texts ?? [] { output.line("\(text); from here on it is another spelling, also of keys") }
        guard pins != known.partitions || !source.added.isEmpty || respelled != nil else { return known }
        // One that streams by now notes both by itself, and is not disturbed.
        if try slotNow()?.holder != nil { return known }
        guard changed.isEmpty || isAccepted else {
            throw AgentExit(
                .configuration, "topics have another number of partitions: keys would go to other ones",
                details: changed, hints: ["sluice init --accept-gap (accepts the new numbers)"])
        }
        for line in changed { output.line(line) }
        let producer: TransactionalProducer
        if let fenced { producer = fenced } else { producer = try makeProducer() }
        guard var position = try positionNow(after: known, isFenced: true) else { throw goneOn }
        if let holder = try slotNow()?.holder?.pid { throw inUse(holder) }
        // All else stays as it was found.
        position.partitions = try self.pins(source, after: position)
        position.format = FormatPin(settings.format)
        if !source.added.isEmpty {
            let publication = try postgres { (connection) throws(PostgresError) in
                try connection.publication(named: settings.publication)
            }
            position.mark = publication.map { PublicationMark(of: $0) }
        }
        try store(position, by: producer)
        return position
    }

    /// How many partitions the topics have that the agent writes to, and those that it has written to with a number of their own.
    /// - Parameter see: is given each that could be asked.
    func pins(
        _ source: Source, after stored: StoredPosition?,
        see: (_ topic: String, _ count: Int32, _ maker: TopicMaker) throws(KafkaError) -> Void = { _, _, _ in }
    ) throws(AgentExit) -> PartitionPins {
        let now = Preflight.tableTopics(settings, source.tables) + [messageTopicName(name: settings.name)]
        let before = stored?.partitions.others ?? [:]
        return try kafka { () throws(KafkaError) in
            let maker = try TopicMaker(settings, events: services.kafkaEvents, log: services.log)
            var pins = PartitionPins()
            for topic in now + Set(before.keys).subtracting(now).sorted() {
                do throws(KafkaError) {
                    guard let count = try maker.partitions(of: topic) else { continue }
                    pins.accept(topic, count: count)
                    try see(topic, count, maker)
                } catch {
                    // One that we may not see, such as that of logical messages, which nobody sends: it stays as it was.
                    guard error.reason == .authorization else { throw error }
                    if let count = before[topic] { pins.accept(topic, count: count) }
                }
            }
            return pins
        }
    }

    /// Ends the transactions of whoever wrote the position before, and keeps it from writing another.
    func makeProducer() throws(AgentExit) -> TransactionalProducer {
        Failpoint.hit(.beforeFence)
        return try kafka { () throws(KafkaError) in
            let producer = try services.makeProducer(settings)
            try producer.initTransactions(timeout: .seconds(30))
            return producer
        }
    }

    func store(_ position: StoredPosition, by producer: TransactionalProducer) throws(AgentExit) {
        do throws(KafkaError) {
            let topic = try producer.topic(settings.progressTopic, timeout: .seconds(30))
            try producer.begin()
            try ProgressStore.produce(position, for: settings.progressKey, to: topic, by: producer)
            try producer.commit(timeout: .seconds(30))
        } catch { throw error.disposition == .fenced ? goneOn : CommandErrors.exit(error) }
    }

    /// The slot as it is now.
    func slotNow() throws(AgentExit) -> ReplicationSlot? {
        try postgres { (connection) throws(PostgresError) in try connection.replicationSlot(named: settings.slot) }
    }
}
