import ChangeData
import Kafka
import Postgres
import Telemetry

/// The publisher's thread: fences whoever was before, judges the start with nobody left who could move it, and publishes.
extension StreamSession {
    /// Steps 3 and 4, and then the publisher, until it ends.
    func publish(_ link: StreamLink) throws(SessionFailure) {
        services.stop.register(link.queue.filled)
        defer { services.stop.unregister(link.queue.filled) }
        let maker = try topicMaker()
        do throws(TopicMaker.Problem) { try maker.judgeProgress() } catch { throw error.failure }
        let known = try knownTopics(maker, named: settings.topic)
        let settings = fitted(to: known)
        let store = try StreamFailures.kafka { () throws(KafkaError) in
            try ProgressStore(settings, events: services.kafkaEvents)
        }
        // (3)
        let producer = try StreamFailures.kafka { () throws(KafkaError) in try services.makeProducer(settings) }
        Failpoint.hit(.beforeFence)
        try initTransactions(producer, link)
        Failpoint.hit(.afterFence)
        var topics = try StreamFailures.kafka { () throws(KafkaError) in
            try TopicDirectory(settings, services, memory, maker: maker, producer: producer)
        }
        try topics.settle(known.partitions, by: producer) { () throws(SessionFailure) in
            let facts = try origin.gather().facts
            try requireSlot(facts, link)
            return HangingTransactions.Held(confirmed: facts.slot?.confirmedFlush ?? LSN(0))
        }
        // (4)
        let found = try settledPosition(store, link)
        let facts = try origin.gather().facts
        try requireSlot(facts, link)
        var stored = try origin.judge(found, facts)
        let cluster = try StreamFailures.kafka { () throws(KafkaError) in try KafkaDecision.cluster(maker) }
        let refusal = try StreamFailures.kafka { () throws(KafkaError) in
            try KafkaDecision.refusal(stored, facts, settings, maker, in: cluster)
        }
        if let refusal { throw .exit(refusal.exit) }
        services.note(facts.published, since: stored.mark)
        // An older sluice stored where logical messages were as well, which the server does not send again.
        if stored.mark == nil, stored.ordinal == 0 { stored.commitLSN = LSN(0) }
        stored.cluster = cluster ?? stored.cluster
        stored.forgetClock(aheadOf: services.clock.wall() / 1000)
        if stored != found.position {
            // What holds from here on is what the publisher finds when it looks; and what was cut off is so for whoever reads it next.
            try StreamFailures.kafka { () throws(KafkaError) in
                try producer.begin()
                try ProgressStore.produce(stored, for: settings.progressKey, to: topics.progress, by: producer)
                try producer.commit(timeout: .seconds(30))
            }
        }
        // (5)
        memory.began()
        services.state.update { [stored] in $0.stored = stored }
        link.begin(
            after: stored, history: HistoryCheck(stored, confirmed: facts.slot?.confirmedFlush ?? LSN(0)))
        var publisher = Publisher(
            settings: settings, link: link, services: services, memory: memory, store: store,
            producer: consume producer,
            topics: topics,
            stored: stored, timeline: facts.timeline, walEnd: facts.walEnd)
        try publisher.run()
    }

    /// Position and slot can be compared only while nobody else moves them: an agent that was stopped here, and wakes, has
    /// lost both.
    private func requireSlot(_ facts: StartFacts, _ link: StreamLink) throws(SessionFailure) {
        guard let slot = facts.slot else { return }
        try StreamServices.SlotHolder(slot.holder, ours: link.walsender).requireUs()
    }

    /// Makes topics, by these settings.
    func topicMaker() throws(SessionFailure) -> TopicMaker {
        try StreamFailures.kafka { () throws(KafkaError) in
            try TopicMaker(settings, events: services.kafkaEvents, log: services.log)
        }
    }

    /// The topics that the tables' records go to, as far as they exist.
    /// - Parameter name: of the topic that a live topic's records go to.
    func knownTopics(
        _ maker: TopicMaker, named name: (String) -> String
    ) throws(SessionFailure) -> TopicMaker.Known {
        let tables = try StreamFailures.postgres(settings) { () throws(PostgresError) in
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            return try connection.tables(matching: settings.tables)
        }
        return try StreamFailures.kafka { () throws(KafkaError) in
            try maker.known(Preflight.topicNames(settings, tables).map(name))
        }
    }

    /// The settings, with room in the producer for the largest record that these topics take, and batches that each of them takes.
    func fitted(to known: TopicMaker.Known) -> StreamSettings {
        var settings = settings
        settings.largestRecord = max(settings.largestRecord, known.largestLimit, memory.largestLimit)
        settings.smallestLimit = min(settings.smallestLimit, known.smallestLimit, memory.smallestLimit)
        return settings
    }

    /// Calls again as long as brokers are away: this waits as long as they do, and the connection lives meanwhile.
    func initTransactions(_ producer: TransactionalProducer, _ link: StreamLink) throws(SessionFailure) {
        while true {
            services.turned(.publisher)
            do throws(KafkaError) {
                return try producer.initTransactions(timeout: .seconds(5))
            } catch {
                // What the brokers refuse at the start they refuse each time.
                if error.reason == .configuration, !memory.hasStreamed {
                    throw .exit(CommandErrors.refused(error))
                }
                guard error.disposition == .retriable, !link.isAborted, !link.queue.isClosed else {
                    throw StreamFailures.session(error)
                }
                services.state.failed("kafka", kind: "init_transactions")
                services.log.warning("waiting for the transaction coordinator", ["error": .init(error)])
            }
        }
    }

    /// The position once no open transaction can move it any more: a commit of the agent before may still be under way.
    func settledPosition(
        _ store: borrowing ProgressStore, _ link: StreamLink
    ) throws(SessionFailure) -> ProgressStore.Found {
        let started = services.clock.monotonic()
        var told = started
        while !link.isAborted, !link.queue.isClosed {
            services.turned(.publisher)
            let (found, isOpen) = try StreamFailures.kafka { () throws(KafkaError) in
                try store.read(timeout: .seconds(10))
            }
            if !isOpen { return found }
            let now = services.clock.monotonic()
            if now &- told >= .seconds(2) {
                told = now
                services.log.info(
                    "waiting for the end of an open transaction on the progress topic",
                    ["seconds": .init((now &- started) / .seconds(1))])
            }
            link.queue.filled.wait(milliseconds: 50)
        }
        throw .stopped
    }
}
