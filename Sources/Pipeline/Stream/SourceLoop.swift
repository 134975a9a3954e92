import ChangeData
import Postgres
import Telemetry

/// Receives the replication stream, encodes it into chunks, and keeps the connection alive.
///
/// One thread owns it. It never waits for Kafka: when no chunk is free it stops reading, and goes on reporting its
/// position (C7). It reads nothing before the publisher knows the position (design, section 3, steps 3 to 5).
struct SourceLoop: ~Copyable {
    let settings: StreamSettings
    let services: StreamServices
    private let link: StreamLink
    private var connection: ReplicationConnection
    var feedback: ReplicationFeedback
    private var encoder: ChangeEncoder?
    var chunk: RecordChunk?
    var tables: RelationDescriber
    /// With protocol 2.
    var intake: StreamedIntake?
    /// A streamed transaction that is committed and being published: nothing is read meanwhile.
    var replay: StreamedReplay?
    private var deadLetters = DeadLetterLog()
    private var shutdownProbe: ShutdownProbe
    private var ending: ReplayEnd?
    /// The transaction before which it ends, and why.
    private let end: (before: LSN, exit: AgentExit)?
    /// Until it is proven nothing is confirmed.
    private var history: HistoryCheck?
    /// Whether the socket was left alone for want of memory.
    private var isPaused = false
    /// How many topics and tables the publisher knows.
    private var shared = (0, 0)

    /// - Parameters:
    ///   - slotAt: where the slot stands.
    ///   - intake: set where the connection streams with protocol 2.
    ///   - end: a transaction that cannot be published.
    init(
        settings: StreamSettings, services: StreamServices, link: StreamLink,
        connection: consuming ReplicationConnection, senderTimeout: Int, slotAt: LSN,
        tables: consuming RelationDescriber, intake: consuming StreamedIntake? = nil,
        end: (before: LSN, exit: AgentExit)? = nil
    ) {
        self.settings = settings
        self.services = services
        self.link = link
        self.connection = connection
        self.tables = tables
        self.intake = intake
        self.end = end
        let now = services.clock.monotonic()
        feedback = ReplicationFeedback(
            senderTimeout: senderTimeout, now: now, heldAt: settings.window == nil ? nil : slotAt,
            grace: settings.sealAfter)
        ending = settings.replay.map { ReplayEnd(at: $0.range.to) }
        shutdownProbe = ShutdownProbe(now: now)
        services.state.holds(settings.window)
    }

    /// Streams until a stop is asked for or something fails. On a stop, what is whole is committed and confirmed.
    mutating func run() throws(SessionFailure) {
        while true {
            let now = services.clock.monotonic()
            services.state.turned(.stream, now: now)
            if let failure = link.failure { throw lastWord() ?? failure }
            if let exit = services.alarm.raised { throw .exit(exit) }
            if services.stop.isRequested { return try drain() }
            begin()
            try report(now)
            try probe(now)
            if ending?.isReached == true {
                if try finish(now) { return }
                continue
            }
            offerIdle(now)
            try turn(milliseconds: Int(max(0, min(feedback.nextDeadline &- now, .milliseconds(500))) / 1_000_000) + 1)
        }
    }

    /// Ends the connection in order, or at once where it has failed.
    consuming func close(politely: Bool) {
        if politely { connection.finish(timeout: .seconds(2)) }
    }

    private mutating func begin() {
        guard encoder == nil, let start = link.start else { return }
        history = link.history
        var format = settings.format
        format.epoch = start.epoch
        format.database = connection.database
        encoder = ChangeEncoder(
            format: format, resumingAt: start.lsn,
            skipping: start.ordinal > 0
                ? EventPosition(epoch: start.epoch, commitLSN: start.commitLSN, ordinal: start.ordinal) : nil,
            committedAt: [start.clock, start.commitTime].max().flatMap { $0 > 0 ? $0 : nil })
        feedback.handedOn(upTo: start.lsn, at: start.clock)
        services.state.entered(.streaming)
        services.log.info("streaming", ["slot": .init(settings.slot), "lsn": .init(start.lsn)])
    }

    // MARK: Reading

    private mutating func turn(milliseconds: Int) throws(SessionFailure) {
        // What was kept back goes as soon as the publisher has not enough before it.
        handOver(.whatIsWhole)
        if chunk == nil { chunk = link.queue.take() }
        guard encoder != nil, chunk != nil else {
            // No room: the socket fills, the server waits, nothing is lost. A chunk that comes back wakes us.
            if encoder != nil { show(isPaused: true) }
            link.queue.freed.wait(milliseconds: milliseconds)
            return
        }
        show(isPaused: false)
        if replay != nil { return try publish() }
        do throws(PostgresError) {
            let wake = try connection.wait(timeoutMilliseconds: milliseconds, wakeup: link.queue.freed.descriptor)
            if wake.contains(.wakeup) { link.queue.freed.clear() }
            guard wake.contains(.input) else { return }
        } catch { throw failure(error) }
        try read()
    }

    private mutating func show(isPaused now: Bool) {
        guard isPaused != now else { return }
        isPaused = now
        let since = now ? services.clock.monotonic() : nil
        services.state.update { $0.pausedSince = since }
    }

    /// Takes what has arrived, until the connection is dry, no chunk is free, or a report is due.
    private mutating func read() throws(SessionFailure) {
        var wall = services.clock.wall()
        let deadline = min(feedback.nextDeadline, services.clock.monotonic() &+ .milliseconds(200))
        var count = 0
        while true {
            let received: Received
            do throws(PostgresError) { received = try connection.receive() } catch { throw failure(error) }
            switch consume received {
            case .frame(let frame):
                if try !take(frame, wall: wall) { return }
            case .nothing:
                handOver(.whatIsWhole)
                return tables.rest(now: services.clock.monotonic())
            case .ended:
                throw .retry(component: .postgres, reason: "the server has ended the stream")
            }
            count += 1
            // The clock is looked at now and then: it costs as much as a small row.
            if count & 63 == 0 {
                wall = services.clock.wall()
                if services.clock.monotonic() >= deadline { return }
            }
        }
    }

    /// Takes one message; answers whether there is room for another.
    private mutating func take(_ frame: borrowing ReplicationFrame, wall: Int64) throws(SessionFailure) -> Bool {
        switch frame.header {
        case .keepalive(let walEnd, _, let replyRequested):
            feedback.received(upTo: walEnd, replyRequested: replyRequested)
            if replyRequested { try report(services.clock.monotonic()) }
            if encoder?.isInTransaction == false {
                try judge(history?.sent(upTo: walEnd))
                ending?.sent(upTo: walEnd)
            }
            return ending?.isReached != true
        case .walData(let lsn, _):
            guard intake != nil else { return try consume(frame.payload, at: lsn, wall: wall) }
            return try sort(frame.payload, at: lsn, wall: wall)
        }
    }

    /// Gives one message to the encoder; answers whether there is room for another.
    mutating func consume(_ message: Span<UInt8>, at lsn: LSN, wall: Int64) throws(SessionFailure) -> Bool {
        // Nothing is taken from the connection without a chunk to put it in: a message would be gone.
        guard let chunk else { throw .retry(component: .postgres, reason: "a message came with no room for it") }
        if ending != nil, encoder?.isInTransaction == false, message.isMessage {
            ending?.message(endingAt: lsn)
            if ending?.isReached == true { return false }
        }
        let step: Step?
        do throws(ChangeDataError) {
            step = try encoder?.consume(message, at: lsn, receivedAt: wall, into: chunk)
        } catch { throw failure(exit(for: error)) }
        var isFull = chunk.byteCount >= settings.chunkFill
        switch step {
        case .committed(let transaction, let isDiscarded):
            // Of transactions without records no chunk would ever be full, and while brokers are away they may go on for hours.
            isFull = isFull || chunk.boundaryCount >= Self.mostBoundaries
            feedback.received(upTo: transaction.endLSN)
            if !isDiscarded {
                feedback.handedOn(upTo: transaction.endLSN, at: transaction.clock(now: wall / 1000))
            }
            services.state.received(transaction)
            ending?.sent(upTo: transaction.endLSN)
        case .began(let head):
            try judge(history?.began(head))
            if let end, head.commitLSN == end.before {
                try drain()
                throw .exit(end.exit)
            }
            ending?.began(at: head.commitLSN)
        case .changed: try judge(history?.changed())
        case .describe(let relation):
            // A change of it follows.
            try judge(history?.changed())
            try describe(relation)
        case .setAside(let why): deadLetters.note(why, services.log, now: wall)
        default: break
        }
        if ending?.isReached == true { return false }
        guard isFull else { return true }
        handOver(.all)
        self.chunk = link.queue.take()
        return self.chunk != nil
    }

    private mutating func judge(_ result: HistoryCheck.Result?) throws(SessionFailure) {
        switch result {
        case nil, .fits: break
        case .proven: history = nil
        case .differs:
            let (start, now) = (link.start, services.clock.wall() / 1000)
            let available = link.history?.confirmed ?? feedback.received
            throw .exit(StartDecision.otherHistory(start, available: available, now: now).exit)
        }
    }

    /// Ends of transactions in one chunk, 64 bytes each.
    private static var mostBoundaries: Int { 4096 }

    private mutating func describe(_ relation: Relation) throws(SessionFailure) {
        let description = try tables.describe(relation, in: encoder?.openXID, settings: settings)
        if !description.isIgnored { try look(relation.oid) }
        do throws(ChangeDataError) {
            try encoder?.define(relation, as: description)
        } catch { throw failure(exit(for: error)) }
    }

    /// A table that is published since the last look: known as such before its first row goes on, lest it be taken for one that came
    /// back where the agent ends before the next look.
    private mutating func look(_ table: UInt32) throws(SessionFailure) {
        let before = services.state.published
        guard let before, let now = try tables.publication(having: table, unlike: before, settings) else { return }
        let returned = now.returned(since: before).filter { $0.matches(settings.tables) }
        guard returned.isEmpty else {
            let snapshot = services.state.snapshot
            throw .exit(
                StartDecision.returned(
                    returned, now.name, stored: snapshot.stored, available: snapshot.serverLSN,
                    now: services.clock.wall() / 1000
                ).exit)
        }
        services.state.saw(now)
    }

    /// Tells the publisher what the records of the next chunk may name: tables as they are described, and the topic of
    /// logical messages once the first has come.
    private mutating func shareNames() {
        guard let count = encoder?.topics.count, let tables = encoder?.tables.count, (count, tables) != shared,
            let topics = encoder?.topics, let names = encoder?.tables
        else { return }
        shared = (count, tables)
        link.define(topics: topics, tables: names.map(\.description))
    }

    private enum HandOver {
        /// The chunk is full.
        case all
        /// Nothing more has arrived: a chunk that holds the end of a transaction, unless the publisher is busy.
        case whatIsWhole
        /// Nothing more will be read: a chunk that holds the end of a transaction.
        case last
    }

    /// Gives the chunk to the publisher.
    private mutating func handOver(_ what: HandOver) {
        guard let full = chunk, what == .all ? full.recordCount + full.boundaryCount > 0 : full.boundaryCount > 0
        else { return }
        if what == .whatIsWhole, link.queue.keepsBack() { return }
        shareNames()
        link.queue.push(full)
        chunk = nil
    }

    // MARK: Feedback

    /// Learns what Kafka holds, and what of it the replay window lets go.
    private mutating func learn() {
        guard history == nil else { return }
        let (durable, marks) = link.committed
        feedback.durable(upTo: durable)
        guard let window = settings.window, durable != LSN(0) else { return }
        if let lsn = window.release(durable: durable, marks: marks, now: services.clock.wall() / 1000) {
            feedback.released(upTo: lsn)
        }
    }

    private mutating func report(_ now: Int64) throws(SessionFailure) {
        learn()
        guard let report = feedback.reportDue(now: now) else { return }
        do throws(PostgresError) {
            Failpoint.hit(.beforeConfirm)
            // A reply is asked for, so that an idle stream learns how far the server is.
            try connection.sendStatus(
                written: report.written, flushed: report.flushed, applied: report.flushed,
                now: services.clock.wall() / 1000, replyRequested: true)
            Failpoint.hit(.afterConfirm)
        } catch { throw failure(error) }
        services.state.update { snapshot in
            snapshot.confirmedLSN = max(snapshot.confirmedLSN, report.flushed)
            snapshot.serverLSN = max(snapshot.serverLSN, feedback.received)
            snapshot.received(feedback.received)
            snapshot.bufferedBytes = link.queue.bytesOut
        }
    }

    /// On an idle publication in a busy database the position moves too, first in Kafka, then in the slot (C4).
    private mutating func offerIdle(_ now: Int64) {
        guard ending == nil, replay == nil, encoder?.isInTransaction == false,
            chunk.map({ $0.recordCount + $0.boundaryCount == 0 }) ?? true
        else { return }
        let seen = services.state.serverSeen
        feedback.knows(seen.lsn, at: seen.clock)
        let quiet = link.durable >= feedback.lastHandedOn && !link.queue.hasReady
        guard let idle = feedback.idleDue(now: now, quiet: quiet) else { return }
        link.offerIdle(idle)
        if idle.clock > 0 { encoder?.passes(idle.clock) }
    }

    /// A walsender waits for its receiver's flush, and the server's shutdown with it: a server that shuts down is let go. Before the
    /// position is known nothing is read and nothing confirmed, for as long as that takes.
    private mutating func probe(_ now: Int64) throws(SessionFailure) {
        guard shutdownProbe.isDue(now: now, lags: encoder == nil || feedback.confirmationLags) else { return }
        do throws(PostgresError) {
            _ = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(2))
        } catch  where error.kind == .shuttingDown {
            throw .retry(component: .postgres, reason: "the server is shutting down")
        } catch {
            // The stream's own connection will tell.
        }
    }

    // MARK: The end

    /// The end of a replay's range is reached: what is before it is committed, then the end itself as the position. Answers
    /// whether that is done.
    private mutating func finish(_ now: Int64) throws(SessionFailure) -> Bool {
        guard let end = ending?.end else { return true }
        handOver(.last)
        if link.durable >= end {
            try drain()
            return true
        }
        link.offerIdle(ReplicationFeedback.Idle(lsn: end, clock: 0))
        link.queue.freed.wait(
            milliseconds: Int(max(0, min(feedback.nextDeadline &- now, .milliseconds(100))) / 1_000_000) + 1)
        return false
    }

    /// Hands over what is whole, waits for its commit, confirms it.
    private mutating func drain() throws(SessionFailure) {
        handOver(.last)
        link.queue.close()
        while !link.isPublisherDone {
            let now = services.clock.monotonic()
            if let deadline = services.stop.deadline, now >= deadline &- .milliseconds(1500) { break }
            try report(now)
            link.queue.freed.wait(milliseconds: 50)
        }
        // What it could not commit comes again; why it could not is told.
        let cut: String?
        switch link.failure {
        case .exit(let exit): throw .exit(exit)
        case .unpublishable(let exit, let lsn): throw .unpublishable(exit, lsn)
        case .retry(_, let reason): cut = reason
        case nil where link.isPublisherDone: cut = nil
        case nil, .stopped, .slotInUse, .fallBack: cut = "the time of the stop was up"
        }
        learn()
        let last = feedback.finalReport()
        do throws(PostgresError) {
            try connection.sendStatus(
                written: last.written, flushed: last.flushed, applied: last.flushed,
                now: services.clock.wall() / 1000)
        } catch { throw failure(error) }
        guard let cut else { return services.log.info("drained", ["lsn": .init(feedback.durable)]) }
        services.log.warning(
            "what was received last is not in Kafka, and comes again",
            ["reason": .init(cut), "lsn": .init(feedback.durable)])
    }

    /// Why the agent must end, where the server has said so before anything was read: the publisher only sees that the slot is nobody's.
    private mutating func lastWord() -> SessionFailure? {
        guard encoder == nil else { return nil }
        do throws(PostgresError) {
            for _ in 0..<100_000 {
                guard case .frame = try connection.receive() else { return nil }
            }
            return nil
        } catch {
            guard case .exit(let exit) = failure(error) else { return nil }
            return .exit(exit)
        }
    }

    /// What makes the agent end, where it is the open transaction's.
    private mutating func failure(_ exit: AgentExit) -> SessionFailure {
        guard exit.code == .unrepresentable, let lsn = encoder?.position?.commitLSN else { return .exit(exit) }
        return .unpublishable(exit, lsn)
    }

    private mutating func failure(_ error: PostgresError) -> SessionFailure {
        guard error.kind == .undefined else {
            let session = StreamFailures.session(error, settings)
            if case .exit(let exit) = session { return failure(exit) }
            return session
        }
        // PostgreSQL before 18: decoding cannot get past a change that was made while there was no publication.
        let snapshot = services.state.snapshot
        return .exit(
            StartDecision.unpublished(
                [], nil, stored: snapshot.stored, available: snapshot.serverLSN, now: services.clock.wall() / 1000
            ).exit)
    }

    func exit(for error: ChangeDataError) -> AgentExit {
        StreamFailures.exit(error)
    }
}

extension Span<UInt8> {
    /// Whether this is a logical message: one outside a transaction has no Begin that says where it is.
    fileprivate var isMessage: Bool { !isEmpty && self[0] == UInt8(ascii: "M") }
}
