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
    let link: StreamLink
    var connection: ReplicationConnection
    var feedback: ReplicationFeedback
    /// What looks at the server tell of its clock.
    private var seenClock = SeenClock()
    var encoder: ChangeEncoder?
    var chunk: RecordChunk?
    var tables: RelationDescriber
    /// With protocol 2.
    var intake: StreamedIntake?
    /// A streamed transaction that is committed and being published: nothing is read meanwhile.
    var replay: StreamedReplay?
    private var deadLetters = DeadLetterLog()
    var shutdownProbe: ShutdownProbe
    var silence: SilentServer
    var ending: ReplayEnd?
    /// The transaction before which it ends, and why.
    let end: (before: LSN, exit: AgentExit)?
    /// Until it is proven nothing is confirmed.
    var history: HistoryCheck?
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
        silence = SilentServer(
            now: now, senderTimeout: .milliseconds(senderTimeout), interval: feedback.interval)
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
            try listen(now)
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
            committedAt: start.clock > 0 ? start.clock : nil,
            epochs: settings.replay?.epochs ?? [])
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
            return silence.heard(at: services.clock.monotonic())
        }
        show(isPaused: false)
        if replay != nil {
            silence.heard(at: services.clock.monotonic())
            return try publish()
        }
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
        let now = services.clock.monotonic()
        let deadline = min(feedback.nextDeadline, now &+ .milliseconds(200))
        var count = 0
        while true {
            let received: Received
            do throws(PostgresError) { received = try connection.receive() } catch { throw failure(error) }
            switch consume received {
            case .frame(let frame):
                if count == 0 { silence.heard(at: now) }
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
        if message.isMessage, encoder?.isInTransaction == false {
            try judge(history?.message(endingAt: lsn))
            if let end, lsn == end.before { throw try drained(before: end.exit) }
            ending?.message(endingAt: lsn)
            if ending?.isReached == true { return false }
        }
        let step: Step?
        do throws(ChangeDataError) {
            step = try encoder?.consume(message, at: lsn, receivedAt: wall, into: chunk)
        } catch { throw failure(exit(for: error), at: lsn) }
        var isFull = chunk.byteCount >= settings.chunkFill
        switch step {
        case .committed(let transaction, let isDiscarded):
            // Of transactions without records no chunk would ever be full, and while brokers are away they may go on for hours.
            isFull = isFull || chunk.boundaryCount >= Self.mostBoundaries
            feedback.received(upTo: transaction.endLSN)
            if !isDiscarded {
                feedback.handedOn(upTo: transaction.endLSN, at: transaction.clock)
            }
            services.state.received(transaction)
            ending?.sent(upTo: transaction.endLSN)
        case .began(let head):
            try judge(history?.began(head))
            if let end, head.commitLSN == end.before { throw try drained(before: end.exit) }
            ending?.began(at: head.commitLSN)
        case .changed: try judge(history?.changed())
        case .describe(let relation):
            // A change of it follows.
            try judge(history?.changed())
            try describe(relation)
        case .passedOver(let table):
            try judge(history?.changed())
            tellOfPartition(table)
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
            throw .exit(StartRefusal.otherHistory(start, available: available, now: now).exit)
        }
    }

    /// Ends of transactions in one chunk, 64 bytes each.
    private static var mostBoundaries: Int { 4096 }

    /// Tells the publisher what the records of the next chunk may name: tables as they are described, and the topic of
    /// logical messages once the first has come.
    private mutating func shareNames() {
        guard let count = encoder?.topics.count, let tables = encoder?.tables.count, (count, tables) != shared,
            let topics = encoder?.topics, let names = encoder?.tables
        else { return }
        shared = (count, tables)
        link.define(topics: topics, tables: names.map(\.description))
    }

    enum HandOver {
        /// The chunk is full.
        case all
        /// Nothing more has arrived: a chunk that holds the end of a transaction, unless the publisher is busy.
        case whatIsWhole
        /// Nothing more will be read: a chunk that holds the end of a transaction.
        case last
    }

    /// Gives the chunk to the publisher.
    mutating func handOver(_ what: HandOver) {
        guard let full = chunk, what == .all ? full.recordCount + full.boundaryCount > 0 : full.boundaryCount > 0
        else { return }
        if what == .whatIsWhole, link.queue.keepsBack() { return }
        shareNames()
        tellClock(full)
        link.queue.push(full)
        chunk = nil
    }

    /// Before the publisher has the chunk: what follows it is dated by no earlier clock than what is sealed by it.
    private mutating func tellClock(_ chunk: RecordChunk) {
        guard let end = chunk.boundaries.last?.transaction.endLSN else { return }
        let clock = seenClock.reached(end, latest: services.state.serverSeen)
        guard clock > 0 else { return }
        chunk.knows(clock: clock)
        encoder?.passes(clock)
        feedback.handedOn(upTo: end, at: clock)
    }
}

extension Span<UInt8> {
    /// Whether this is a logical message: one outside a transaction has no Begin that says where it is.
    fileprivate var isMessage: Bool { !isEmpty && self[0] == UInt8(ascii: "M") }
}
