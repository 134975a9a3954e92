import ChangeData
import Postgres
import Threads

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
///
/// What it starts from is in `StreamOrigin`, the publisher's thread in `StreamSession+Publisher`.
struct StreamSession: Sendable {
    private(set) var settings: StreamSettings
    let services: StreamServices
    let memory: SessionMemory

    /// What it starts from.
    var origin: StreamOrigin { StreamOrigin(settings: settings, services: services, memory: memory) }

    /// Runs until a stop (then returns) or a failure.
    func run() throws(SessionFailure) {
        // (1)
        services.turned(.stream)
        let (facts, senderTimeout) = try origin.gather()
        if let holder = facts.slot?.holder?.pid { throw .slotInUse(holder: holder) }
        let position = try origin.firstPosition(facts)
        // (2)
        services.turned(.stream)
        let connection = try connect()
        // All that it asks from here on it asks the server that it streams from: of several hosts another may answer by now.
        var own = self
        own.settings.postgres = connection.settingsOfServer(settings.postgres)
        let intake = intake(connection.serverVersion, restart: facts.slot?.restart)
        services.state.update { [isStreaming = intake != nil] in
            $0.intake.start(isStreaming: isStreaming)
            $0.isOnStandby = facts.isInRecovery
        }
        try own.stream(
            over: start(connection, at: HistoryCheck.start(position), streaming: intake != nil),
            senderTimeout: senderTimeout,
            slotAt: facts.slot?.confirmedFlush ?? LSN(0), intake: intake
        ) { [own] link throws(SessionFailure) in try own.publish(link) }
    }

    /// Runs the source on this thread and `publish` on another, until a stop, the end of a replay's range, or a failure.
    func stream(
        over connection: consuming ReplicationConnection, senderTimeout: Int, slotAt: LSN,
        intake: consuming StreamedIntake? = nil,
        publishing publish: @escaping @Sendable (StreamLink) throws(SessionFailure) -> Void
    ) throws(SessionFailure) {
        let link = StreamLink(memory: settings.chunkMemory, chunkBytes: settings.chunkBytes)
        link.holdsSlot(connection.walsender)
        services.state.update { [walsender = connection.walsender, server = settings.postgres] in
            ($0.walsender, $0.server, $0.timeline, $0.serverSeen) = (walsender, server, nil, (LSN(0), 0))
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
}
