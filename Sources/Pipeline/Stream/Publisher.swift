import ChangeData
import Glibc
import Kafka

/// Produces what the source has encoded, in Kafka transactions that hold whole PostgreSQL transactions and the position.
///
/// The order that makes C1, C2 and C4 hold, in this file and `Publisher+Transactions`:
///
/// 1. records are produced in the order of the stream;
/// 2. at a boundary between PostgreSQL transactions (or, past the bounds of `split`, between two changes) the position is
///    produced into the same Kafka transaction, and the transaction is committed;
/// 3. only when the commit has returned does the durable position move, and only that is ever confirmed to PostgreSQL.
///
/// How topics are opened is in `Publisher+Topics`, how records are given to the client in `Publisher+Records`, and what happens
/// when a step fails in `ProducerRecovery` and `Publisher+Recovery`.
struct Publisher: ~Copyable {
    let settings: StreamSettings
    let link: StreamLink
    let services: StreamServices
    let memory: SessionMemory
    let store: ProgressStore
    var topics: TopicDirectory

    var producer: TransactionalProducer?
    var open: OpenBatch
    /// What Kafka holds.
    var stored: StoredPosition
    /// What Kafka will hold once the open transaction is committed at the last boundary.
    var pending: StoredPosition
    var recovery = ProducerRecovery()
    var backoff = Backoff(first: .milliseconds(100), most: .seconds(5))
    /// When the next transaction may begin.
    var pace = TransactionPace()
    let window: SendWindow
    var doubt = EndInDoubt()
    /// Whether Kafka has refused something since the last commit.
    var hasFailed = false
    /// When the last commit began, monotonic nanoseconds.
    var lastCommit: Int64
    /// What the open transaction holds, for whoever counts.
    var counts = OperationCounts()
    /// The position of the last record that was produced.
    var produced: RecordPosition?
    let replayID: [UInt8]?

    init(
        settings: StreamSettings, link: StreamLink, services: StreamServices, memory: SessionMemory,
        store: consuming ProgressStore, producer: TransactionalProducer, topics: consuming TopicDirectory,
        stored: StoredPosition, timeline: UInt32,
        walEnd: LSN
    ) {
        self.settings = settings
        self.link = link
        self.services = services
        self.memory = memory
        self.store = store
        self.producer = producer
        self.topics = topics
        self.stored = stored
        pending = stored
        // What follows is of the server's timeline: the history has shown that it contains the position.
        pending.timeline = timeline
        // `StartDecision` has accepted them: what is split from here on is counted with these.
        pending.options = settings.fingerprint
        pending.format = FormatPin(settings.format)
        // A loss that went on until somebody else had mended the publication: it is whole again now, or nothing would start.
        if let last = pending.gaps.indices.last, pending.gaps[last].to == LSN(0) { pending.gaps[last].to = walEnd }
        replayID = (settings.replay?.id).map { Array($0.utf8) }
        open = OpenBatch(queue: link.queue, retainLimit: settings.retainedBytes)
        window = SendWindow(batch: settings.producerBatchBytes)
        lastCommit = services.clock.monotonic() &- .seconds(60)
    }

    /// Runs until the queue is closed, and then commits what is whole and drops the rest.
    mutating func run() throws(SessionFailure) {
        // The one reference to the producer: it goes before the chunks do, which it may still be pointing into.
        defer { producer = nil }
        while true {
            services.turned(.publisher)
            switch link.queue.pop() {
            case .chunk(let chunk): try publish(chunk)
            case .empty: try idle()
            case .closed: return try finish()
            }
        }
    }

    // MARK: Records

    private mutating func publish(_ chunk: RecordChunk) throws(SessionFailure) {
        open.open(chunk)
        var next = 0
        for (index, boundary) in chunk.boundaries.enumerated() {
            try produce(chunk, next..<boundary.recordCount)
            next = boundary.recordCount
            pass(boundary.transaction)
            let isLast = index == chunk.boundaries.count - 1
            let decision = settings.batch.atBoundary(
                open.batch, lastCommit: lastCommit, now: services.clock.monotonic(),
                moreReady: !isLast || link.queue.contains { !$0.boundaries.isEmpty })
            if decision == .commit { try commit(isPublishing: true) }
        }
        try produce(chunk, next..<chunk.recordCount)
        if !open.isAtBoundary, settings.split.mustSplit(open.batch, now: services.clock.monotonic()) {
            try split(isPublishing: true)
        }
        if open.mustDrain { try drainProducer() }
        open.close()
    }

    /// Nothing is at hand: commits what is whole and due, or an idle position, and waits.
    private mutating func idle() throws(SessionFailure) {
        guard !link.isAborted else { throw .stopped }
        try settle()
        let now = services.clock.monotonic()
        var deadline = now &+ .milliseconds(500)
        if open.isAtBoundary {
            if open.isEmpty, let idle = link.takeIdle(), idle.lsn > stored.lsn || idle.clock > stored.clock {
                pending.lsn = max(pending.lsn, idle.lsn)
                pending.clock = max(pending.clock, idle.clock)
                open.reachedBoundary()
                return try commit(isPublishing: false)
            }
            // What is published for the first time is known as such before it can be taken for a table that came back.
            if open.isEmpty, let mark = services.state.seen.mark, mark != stored.mark {
                open.reachedBoundary()
                return try commit(isPublishing: false)
            }
            if !open.isEmpty {
                let isMore = link.queue.contains { !$0.boundaries.isEmpty }
                switch settings.batch.atBoundary(open.batch, lastCommit: lastCommit, now: now, moreReady: isMore) {
                case .commit: return try commit(isPublishing: false)
                case .wait(let until): deadline = min(deadline, until)
                case .more: break
                }
            }
        } else if settings.split.mustSplit(open.batch, now: now) {
            // The rest of the transaction does not come yet: before the coordinator ends the Kafka transaction, what is
            // there is committed as a part.
            try split(isPublishing: false)
        }
        producer?.poll()
        // Rounded up: a wait that ends before its time would only be a spin.
        link.queue.filled.wait(milliseconds: Int((deadline &- now &+ 999_999) / 1_000_000))
    }

    private mutating func finish() throws(SessionFailure) {
        guard !link.isAborted else { throw .stopped }
        // What is whole and was sent in one Kafka transaction with the begin of what is cut off is not cut off with it.
        if !open.isAtBoundary { try takeBack() }
        if !open.isEmpty, open.isAtBoundary { try commit(isPublishing: false) }
        // What is not whole is dropped with the producer: the next `init_transactions` ends it, also where this one may end nothing.
        if let producer, producer.isInTransaction, !doubt.isDue(producer.connectionsLost) {
            try? producer.abort(timeout: .seconds(2))
        }
    }

    /// Produces records of the newest chunk into the open transaction.
    private mutating func produce(_ chunk: RecordChunk, _ records: Range<Int>) throws(SessionFailure) {
        guard !records.isEmpty else { return }
        try prepare(chunk, records)
        var next = records.lowerBound
        while next < records.upperBound {
            do throws(KafkaError) {
                try begin(forRecords: true)
                next = try send(chunk, next..<records.upperBound, copying: open.mustCopy)
            } catch {
                // Everything that the open transaction holds is sent again, up to the records before these.
                _ = try recover(from: error, attempted: nil)
                next = records.lowerBound
            }
        }
        var bytes = 0
        for record in chunk.records[records] {
            bytes += record.payloadCount
            counts.count(record)
        }
        if let last = chunk.records[records].last {
            produced = chunk.withBytes { RecordPosition(parsing: $0.extracting(last.position)) }
        }
        open.produced(records, bytes: bytes, now: services.clock.monotonic())
    }
}
