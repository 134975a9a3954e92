import ChangeData
import Kafka
import Postgres
import Telemetry

/// One session of the stream: a replication connection and a producer, from their start to the first failure of either.
///
/// The order is the design's (section 3). Holding the slot is the lock: nothing is fenced before it is held, and nothing is
/// produced or confirmed before the position was read with nobody left who could move it.
///
///     this thread                                   the publisher's
///     (1) read the position, fencing nobody;
///         compare it with the server
///     (2) START_REPLICATION: the slot is ours
///         report 0/0 on a timer                     (3) init_transactions: a zombie is fenced
///                                                   (4) read the position again, compare again
///     (5) decode what is after it            <----  begin(after:)
///         ...                          chunks ---->  produce, commit
///         confirm                            <----  committed(upTo:)
struct StreamSession: Sendable {
    let settings: StreamSettings
    let services: StreamServices
    let memory: SessionMemory

    /// Runs until a stop (then returns) or a failure.
    func run() throws(SessionFailure) {
        // (1)
        services.turned(.stream)
        let (facts, senderTimeout) = try gather()
        if let holder = facts.slot?.holder?.pid { throw .slotInUse(holder: holder) }
        let position = try firstPosition(facts)
        // (2)
        services.turned(.stream)
        let connection = try connect()
        let intake = intake(connection.serverVersion, restart: facts.slot?.restart)
        services.state.update { [isStreaming = intake != nil] in
            $0.intake.start(isStreaming: isStreaming)
            $0.isOnStandby = facts.isInRecovery
        }
        try stream(
            over: start(connection, at: HistoryCheck.start(position), streaming: intake != nil),
            senderTimeout: senderTimeout,
            slotAt: facts.slot?.confirmedFlush ?? LSN(0), intake: intake
        ) { link throws(SessionFailure) in try publish(link) }
    }

    /// Runs the source on this thread and `publish` on another, until a stop, the end of a replay's range, or a failure.
    func stream(
        over connection: consuming ReplicationConnection, senderTimeout: Int, slotAt: LSN,
        intake: consuming StreamedIntake? = nil,
        publishing publish: @escaping @Sendable (StreamLink) throws(SessionFailure) -> Void
    ) throws(SessionFailure) {
        let link = StreamLink(memory: settings.chunkMemory, chunkBytes: settings.chunkBytes)
        link.holdsSlot(connection.walsender)
        services.state.update { [walsender = connection.walsender] in
            ($0.walsender, $0.timeline, $0.serverSeen) = (walsender, nil, (LSN(0), 0))
        }
        services.stop.register(link.queue.freed)
        defer { services.stop.unregister(link.queue.freed) }
        let publisher = WorkerThread(name: "publisher") { [services] in
            defer { services.state.left(.publisher) }
            do throws(SessionFailure) {
                try publish(link)
                link.publisherEnded(nil)
            } catch { link.publisherEnded(error) }
        }
        let patterns = settings.tables
        var source = SourceLoop(
            settings: settings, services: services, link: link, connection: connection, senderTimeout: senderTimeout,
            slotAt: slotAt, tables: RelationDescriber(patterns: patterns, clock: services.clock, log: services.log),
            intake: intake, end: memory.end)
        do throws(SessionFailure) {
            try source.run()
            source.close(politely: true)
        } catch {
            link.abort(error)
            source.close(politely: false)
            join(publisher)
            throw error
        }
        join(publisher)
    }

    /// The publisher ends soon after the queue was closed; one that hangs in a call to brokers that are gone is left behind
    /// when the time of a stop is up.
    private func join(_ publisher: WorkerThread) {
        while !publisher.join(milliseconds: 200) {
            // The publisher's own patience says when it hangs.
            services.turned(.stream)
            if let deadline = services.stop.deadline, services.clock.monotonic() >= deadline { return }
        }
    }

    /// Where to start, as far as can be told while another agent's last commit may still be under way.
    ///
    /// The slot was looked at before the position, and the end of the WAL is looked at after it: an agent that streams moves
    /// both meanwhile, and neither may look like a gap. A commit that was decided and confirmed may not be visible yet, and
    /// then the slot is ahead of what can be read: (4) waits for it and compares again.
    private func firstPosition(_ early: StartFacts) throws(SessionFailure) -> StoredPosition {
        let (found, isOpen) = try StreamFailures.kafka { () throws(KafkaError) in
            try ProgressStore(settings, events: services.kafkaEvents).readIfThere(timeout: .seconds(10))
        }
        let position = try position(found)
        if let position = try? StartDecision.judge(position, early) { return position }
        var facts = try gather().facts
        facts.slot = early.slot
        do throws(StartRefusal) {
            return try StartDecision.judge(position, facts)
        } catch {
            guard error.kind == .slotAhead, isOpen, let position else { throw failure(error, facts) }
            return position
        }
    }

    private func gather() throws(SessionFailure) -> (facts: StartFacts, senderTimeout: Int) {
        try StreamFailures.postgres(settings) { () throws(PostgresError) in try StartFacts.gather(settings) }
    }

    private func position(_ found: ProgressStore.Found) throws(SessionFailure) -> StoredPosition? {
        switch found {
        case .nothing: return nil
        case .position(let read):
            memory.foundPosition()
            return read
        case .unreadable(let why):
            throw .exit(StartRefusal.unreadable(settings.progressTopic, why).exit)
        }
    }

    private func judge(_ found: ProgressStore.Found, _ facts: StartFacts) throws(SessionFailure) -> StoredPosition {
        let position = try position(found)
        do throws(StartRefusal) {
            return try StartDecision.judge(position, facts)
        } catch { throw failure(error, facts) }
    }

    /// Position and slot can be compared only while nobody else moves them: an agent that was stopped here, and wakes, has
    /// lost both.
    private func requireSlot(_ facts: StartFacts, _ link: StreamLink) throws(SessionFailure) {
        guard let slot = facts.slot else { return }
        try StreamServices.SlotHolder(slot.holder, ours: link.walsender).requireUs()
    }

    private func failure(_ refusal: StartRefusal, _ facts: StartFacts) -> SessionFailure {
        // It may get the WAL, and a slot that is synchronized, yet; and streams once it is promoted.
        if facts.isInRecovery, refusal.kind == .serverBehind || refusal.kind == .slotMissing {
            return .retry(component: .postgres, reason: "the server is a standby: \(refusal.message)")
        }
        guard refusal.kind == .noPosition, facts.slot != nil, !memory.isGone(now: services.clock.monotonic()) else {
            return .exit(refusal.exit)
        }
        return .retry(component: .kafka, reason: "topic \(settings.progressTopic) shows no position")
    }

    private func connect() throws(SessionFailure) -> ReplicationConnection {
        try StreamFailures.postgres(settings) { () throws(PostgresError) in
            try ReplicationConnection(
                connecting: settings.postgres, applicationName: settings.transactionalID, timeout: .seconds(10))
        }
    }

    private func start(
        _ connection: consuming ReplicationConnection, at start: LSN, streaming: Bool
    ) throws(SessionFailure) -> ReplicationConnection {
        // Before the server gives it the slot: its answer may be lost.
        memory.asks(connection.walsender)
        do throws(PostgresError) {
            try connection.startReplication(
                slot: settings.slot, at: start, publications: [settings.publication], streaming: streaming)
            return connection
        } catch { throw StreamFailures.session(error, settings) }
    }

    /// Where transactions are kept that the server streams before their commit; nil: protocol 1.
    private func intake(_ serverVersion: Int, restart: LSN?) -> StreamedIntake? {
        guard let streaming = settings.streaming, serverVersion >= 140_000, memory.mayStream(restart: restart) else {
            return nil
        }
        do throws(StreamingRefusal) {
            return try StreamedIntake(in: streaming.directory, limit: streaming.bytes)
        } catch {
            services.refused(error)
            return nil
        }
    }

    // MARK: The publisher's thread

    private func publish(_ link: StreamLink) throws(SessionFailure) {
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
            let facts = try gather().facts
            try requireSlot(facts, link)
            return HangingTransactions.Held(confirmed: facts.slot?.confirmedFlush ?? LSN(0))
        }
        // (4)
        let found = try settledPosition(store, link)
        let facts = try gather().facts
        try requireSlot(facts, link)
        var stored = try judge(found, facts)
        let cluster = try StreamFailures.kafka { () throws(KafkaError) in try KafkaDecision.cluster(maker) }
        let refusal = try StreamFailures.kafka { () throws(KafkaError) in
            try KafkaDecision.refusal(stored, facts, settings, maker, in: cluster)
        }
        if let refusal { throw .exit(refusal.exit) }
        if let publication = facts.published { services.state.saw(publication) }
        // An older sluice stored where logical messages were as well, which the server does not send again.
        if stored.mark == nil, stored.ordinal == 0 { stored.commitLSN = LSN(0) }
        stored.cluster = cluster ?? stored.cluster
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
