import ChangeData
import Postgres

/// Reads only where transactions begin and when they were committed, through a copy of the live slot: to turn times into
/// positions, and to say what can be had.
struct ReplayScan: ~Copyable {
    /// The oldest position that can be had: where the live slot stands.
    let window: LSN
    /// The last message outside transactions that came.
    private(set) var lastMessage = LSN(0)
    private var connection: ReplicationConnection
    private let services: StreamServices
    private var encoder = ChangeEncoder(
        format: EventFormat(name: "", database: "", version: "", epoch: 1), resumingAt: LSN(.max))
    private let chunk = RecordChunk(capacity: 1024)
    private var lastStatus: Int64 = 0
    private static let pause: Int64 = .seconds(1)

    /// Copies the live slot.
    /// - Parameters:
    ///   - settings: of the live stream.
    ///   - name: of the copy.
    init(_ settings: StreamSettings, services: StreamServices, copy name: String) throws(PostgresError) {
        self.services = services
        var connection = try ReplicationConnection(
            connecting: settings.postgres, applicationName: name, timeout: .seconds(10))
        window = try connection.copySlot(settings.slot, toTemporary: name)
        self.connection = connection
    }

    var serverVersion: Int { connection.serverVersion }

    /// Starts reading at a position in the window; once.
    mutating func start(_ settings: StreamSettings, copy name: String, at lsn: LSN) throws(PostgresError) {
        try connection.startReplication(slot: name, at: lsn, publications: [settings.publication])
    }

    /// The next transaction; nil where none follows that was committed before `end`, or a stop was asked for.
    mutating func next(before end: LSN) throws(PostgresError) -> TransactionHead? {
        var reached = ReplayEnd(at: end)
        while !reached.isReached, !services.stop.isRequested {
            let now = services.clock.monotonic()
            if now &- lastStatus >= Self.pause { try tell(upTo: LSN(0), now) }
            switch try connection.receive() {
            case .frame(let frame):
                switch frame.header {
                case .keepalive(let walEnd, _, let replyRequested):
                    if replyRequested { try tell(upTo: walEnd, now) }
                    if !encoder.isInTransaction { reached.sent(upTo: walEnd) }
                case .walData(let lsn, _):
                    switch try consume(frame.payload, at: lsn) {
                    case .began(let head):
                        reached.began(at: head.commitLSN)
                        if !reached.isReached { return head }
                    case .committed(let transaction, _) where transaction.xid == 0:
                        reached.message(endingAt: transaction.endLSN)
                        if !reached.isReached { lastMessage = transaction.endLSN }
                    default: break
                    }
                }
            case .nothing: _ = try connection.wait(timeoutMilliseconds: 200)
            case .ended: throw PostgresError(.transient, "the server has ended the stream")
            }
        }
        return nil
    }

    /// Messages outside transactions have no commit time of their own, and are no transactions here; changes are passed over.
    private mutating func consume(_ message: Span<UInt8>, at lsn: LSN) throws(PostgresError) -> Step {
        do throws(ChangeDataError) {
            return try encoder.consume(message, at: lsn, receivedAt: 0, into: chunk)
        } catch { throw PostgresError(.fatal, error.description) }
    }

    /// A reply is asked for, so that the server says how far it is where nothing is published.
    private mutating func tell(upTo written: LSN, _ now: Int64) throws(PostgresError) {
        lastStatus = now
        try connection.sendStatus(
            written: written, flushed: LSN(0), applied: LSN(0), now: services.clock.wall() / 1000, replyRequested: true)
    }
}
