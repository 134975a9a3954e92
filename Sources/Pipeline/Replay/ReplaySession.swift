import ChangeData
import Kafka
import Postgres

/// One session of a replay: as a session of the live stream, but on a copy of its slot that goes with the connection, up to
/// an end, with a producer and a position of its own.
///
/// The copy holds the WAL from here on: the live slot may move on meanwhile. It is also the lock: its name is the
/// replay's, and a second run of the same command finds it there.
struct ReplaySession: Sendable {
    /// Of the replay: its slot is the copy.
    let settings: StreamSettings
    let services: StreamServices
    /// The server's `wal_sender_timeout`, milliseconds.
    let senderTimeout: Int
    /// The live slot.
    let source: String
    /// Where the replay begins, if it has not begun yet.
    let initial: StoredPosition
    /// Set for a dry run: nothing is produced.
    let tally: ReplayTally?
    /// What to say where the position is no longer in the window.
    let refusal: @Sendable (_ position: LSN, _ window: LSN) -> AgentExit
    let memory = SessionMemory()

    /// Bytes of WAL before the position that are read and dropped, so that the first record's `source.sequence` names the
    /// transaction before it, as the live one does.
    private static let leadIn: UInt64 = 16 << 20

    /// Runs until the end of the range, or a stop: then returns.
    func run() throws(SessionFailure) {
        let position =
            try StreamFailures.kafka { () throws(KafkaError) in
                try ProgressStore(settings, events: services.kafkaEvents).readIfThere(timeout: .seconds(10)).found
            }.position ?? initial
        services.state.update { $0.stored = position }
        guard position.lsn < end else { return }
        var window = LSN(0)
        let connection = try connect(at: position.lsn, window: &window)
        guard position.lsn >= window else { throw .exit(refusal(position.lsn, window)) }
        let session = StreamSession(settings: settings, services: services, memory: memory)
        try session.stream(over: connection, senderTimeout: senderTimeout, slotAt: window) {
            link throws(SessionFailure) in
            services.stop.register(link.queue.filled)
            defer { services.stop.unregister(link.queue.filled) }
            if let tally {
                link.begin(after: position)
                var counter = ReplayCounter(link: link, services: services, tally: tally, position: position)
                try counter.run()
            } else {
                try publish(link, session)
            }
        }
    }

    /// Copies the slot and streams the copy, unless the position is before it.
    private func connect(
        at position: LSN, window: inout LSN
    ) throws(SessionFailure) -> ReplicationConnection {
        do throws(PostgresError) {
            var connection = try ReplicationConnection(
                connecting: settings.postgres, applicationName: settings.transactionalID, timeout: .seconds(10))
            window = try connection.copySlot(source, toTemporary: settings.slot)
            guard position >= window else { return connection }
            let start = LSN(position.rawValue - min(position.rawValue, Self.leadIn))
            try connection.startReplication(
                slot: settings.slot, at: max(window, start), publications: [settings.publication])
            return connection
        } catch {
            throw error.kind == .duplicate ? .slotInUse(holder: nil) : StreamFailures.session(error, settings)
        }
    }

    private var end: LSN { initial.replay?.to ?? LSN(0) }

    private func publish(_ link: StreamLink, _ session: StreamSession) throws(SessionFailure) {
        let maker = try session.topicMaker()
        // As the live topics are: the replay's are made like them.
        let settings = try session.fitted(to: session.knownTopics(maker) { $0 })
        let store = try StreamFailures.kafka { () throws(KafkaError) in
            try ProgressStore(settings, events: services.kafkaEvents)
        }
        let producer = try StreamFailures.kafka { () throws(KafkaError) in try services.makeProducer(settings) }
        try session.initTransactions(producer, link)
        var topics = try StreamFailures.kafka { () throws(KafkaError) in
            try TopicDirectory(settings, services, memory, maker: maker, producer: producer)
        }
        try topics.settle(session.knownTopics(maker, named: settings.topic).partitions, by: producer) {
            HangingTransactions.Held()
        }
        let found = try session.settledPosition(store, link).position
        if found == nil {
            // The range is on record before the first row, so that the same command goes on with it.
            try StreamFailures.kafka { () throws(KafkaError) in
                try producer.begin()
                try ProgressStore.produce(initial, for: settings.progressKey, to: topics.progress, by: producer)
                try producer.commit(timeout: .seconds(30))
            }
        }
        let stored = found ?? initial
        services.state.update { $0.stored = stored }
        link.begin(after: stored)
        var publisher = Publisher(
            settings: settings, link: link, services: services, memory: memory, store: store,
            producer: consume producer,
            topics: topics,
            stored: stored, timeline: stored.timeline, walEnd: stored.lsn)
        try publisher.run()
    }
}

extension ProgressStore.Found {
    /// The position, if there is one.
    var position: StoredPosition? {
        if case .position(let position) = self { position } else { nil }
    }
}
