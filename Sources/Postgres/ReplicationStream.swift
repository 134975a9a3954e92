public import ChangeData
import CPostgres
import Glibc

/// What ended a wait. Empty: the time passed.
public struct Wake: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt8
    /// A set of bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// There may be something to receive.
    public static let input = Wake(rawValue: 1)
    /// The caller's descriptor is readable; the caller reads it.
    public static let wakeup = Wake(rawValue: 2)
}

/// What `receive` found.
public enum Received: ~Copyable {
    /// A message.
    case frame(ReplicationFrame)
    /// Nothing more for now: wait.
    case nothing
    /// The server has ended the stream in order, as it does when it shuts down and everything was sent and confirmed.
    case ended
}

/// What the stream part of a connection remembers.
struct StreamState {
    enum Phase { case idle, streaming, ended }
    var phase = Phase.idle
    /// Whether libpq, TLS or the socket may hold bytes that were not looked at.
    var mayHoldInput = false
    /// Whether libpq holds output that the socket did not take.
    var holdsOutput = false
    /// The newest status, where the socket did not take an earlier one yet. One is enough: it says all that earlier ones said.
    var pendingStatus: StandbyStatus?
    /// Whether there is anything to send.
    var hasOutput: Bool { holdsOutput || pendingStatus != nil }
    var pacing: ReceivePacing
    let warnings = StreamWarnings()
}

extension ReplicationConnection {
    /// Starts streaming a slot with `pgoutput`, protocol 1: whole transactions in commit order. With `streaming` protocol 2:
    /// between them come blocks of large ones that are not committed yet. That needs PostgreSQL 14.
    ///
    /// The server silently starts at the slot's `confirmed_flush_lsn` where that is later than `start`: compare before.
    /// Throws `slotInUse`, `slotMissing` and `slotInvalidated` among others.
    public mutating func startReplication(
        slot: String, at start: LSN, publications: [String], messages: Bool = true, streaming: Bool = false,
        timeout: Duration = .seconds(30)
    ) throws(PostgresError) {
        guard stream.phase == .idle else { throw PostgresError(.fatal, "this connection has streamed already") }
        let names = Quoting.literal(Quoting.publicationNames(publications))
        let version = streaming ? "proto_version '2', streaming 'on'" : "proto_version '1'"
        let options = "\(version), publication_names \(names)" + (messages ? ", messages 'true'" : "")
        let result = try session.run(
            "START_REPLICATION SLOT \(Quoting.identifier(slot)) LOGICAL \(start) (\(options))", during: .slotCommand,
            deadline: Deadline(after: timeout))
        guard result.status == PGRES_COPY_BOTH else {
            throw PostgresError(.fatal, "START_REPLICATION did not start a stream")
        }
        stream.warnings.listen(to: session.connection)
        stream.phase = .streaming
        stream.mayHoldInput = true
    }

    /// Waits until the server has sent something, `wakeup` (-1 for none) is readable, or the time has passed.
    ///
    /// On a busy stream it lets data gather for up to a millisecond (`ReceivePacing`); after a silence it wakes at once.
    /// It also sends what `sendStatus` could not.
    public mutating func wait(timeoutMilliseconds: Int, wakeup: Int32 = -1) throws(PostgresError) -> Wake {
        // What the socket does not take libpq answers with a look for input, and each wait would end with one: its turn comes below.
        if stream.hasOutput, isWritable { try flushOutput() }
        if stream.mayHoldInput { return .input }
        let deadline = Deadline(after: .milliseconds(max(0, timeoutMilliseconds)))
        let pause = min(stream.pacing.begin(), deadline.remaining)
        if pause > 0 {
            let ready = Readiness.wait(socket: -1, write: false, wakeup: wakeup, nanoseconds: pause)
            if ready.wakeup { return .wakeup }
        }
        let started = Deadline.now()
        while true {
            let ready = Readiness.wait(
                socket: session.socket, write: stream.hasOutput, wakeup: wakeup, nanoseconds: deadline.remaining)
            if ready.socketWritable, !ready.socketReadable, !ready.wakeup {
                try flushOutput()
                if !stream.mayHoldInput, !deadline.hasPassed { continue }
            }
            stream.pacing.end(nanoseconds: Deadline.now() &- started, readable: ready.socketReadable)
            if ready.socketReadable { stream.mayHoldInput = true }
            var wake: Wake = []
            if stream.mayHoldInput { wake.insert(.input) }
            if ready.wakeup { wake.insert(.wakeup) }
            return wake
        }
    }

    /// The next message that has arrived; never waits. A fast server can keep it busy for ever: look at the clock between messages.
    ///
    /// Throws `shuttingDown`, `transient` and others when the stream has failed; `undefined` where the server has passed over the
    /// publication, and with it rows: before any message that it sent behind that.
    public mutating func receive() throws(PostgresError) -> Received {
        guard stream.phase == .streaming else { return .ended }
        var idleReads = 0
        while true {
            var start: UnsafeMutablePointer<CChar>?
            let length = PQgetCopyData(session.connection, &start, 1)
            if stream.warnings.isSkipping { throw skipped(start) }
            if length > 0, let start {
                stream.pacing.took(Int(length))
                return .frame(try ReplicationFrame(CopyBuffer(start, count: Int(length))))
            }
            if length == -1 { return try endOfCopy() }
            guard length == 0 else { throw failed() }
            // The connection was lost in a read that had taken messages before: they are handed out, and nothing more comes.
            // There is no socket left that a wait could see.
            guard PQstatus(session.connection) != CONNECTION_BAD else { throw failed() }
            guard stream.mayHoldInput else { return .nothing }
            // One read takes at least 8 KB. A TLS record has at most 16 KB, of which OpenSSL may hold a rest that `poll` cannot
            // see: after three reads without a message there is none, and the socket tells the truth.
            if idleReads >= (usesTLS ? 3 : 1) {
                idleReads = 0
                let ready = Readiness.wait(socket: session.socket, write: false, wakeup: -1, nanoseconds: 0)
                guard ready.socketReadable else {
                    stream.mayHoldInput = false
                    return .nothing
                }
            }
            idleReads += 1
            guard PQconsumeInput(session.connection) == 1 else {
                // What came before the end is still to be handed out: the error comes again when it is. Until then no wait is to be
                // long.
                start = nil
                let rest = PQgetCopyData(session.connection, &start, 1)
                if rest > 0, let start { return .frame(try ReplicationFrame(CopyBuffer(start, count: Int(rest)))) }
                if rest == -1 { return try endOfCopy() }
                throw failed()
            }
        }
    }

    /// Tells the server how far we are; never waits. What the socket does not take is sent by later waits, the newest status only.
    /// `now` is our clock in microseconds since 1970.
    public mutating func sendStatus(
        written: LSN, flushed: LSN, applied: LSN, now: Int64, replyRequested: Bool = false
    ) throws(PostgresError) {
        guard stream.phase == .streaming else { return }
        stream.pendingStatus = StandbyStatus(
            written: written, flushed: flushed, applied: applied, time: now, replyRequested: replyRequested)
        try flushOutput()
    }

    /// Ends the stream politely, discarding what still comes, or closes the connection at the deadline.
    ///
    /// A status sent just before is processed by the server first, so the slot's position is where it was said to be.
    public consuming func finish(timeout: Duration = .seconds(2)) {
        guard stream.phase == .streaming else { return }
        let deadline = Deadline(after: timeout)
        do throws(PostgresError) {
            while stream.hasOutput, !deadline.hasPassed {
                try discard(until: deadline)
            }
            guard PQputCopyEnd(session.connection, nil) == 1 else { return }
            stream.holdsOutput = true
            while !deadline.hasPassed, stream.phase == .streaming { try discard(until: deadline) }
        } catch {
            // The connection is closed either way.
        }
    }

    /// Waits and throws away what comes.
    private mutating func discard(until deadline: Deadline) throws(PostgresError) {
        let milliseconds = Int(deadline.remaining / 1_000_000) + 1
        guard try wait(timeoutMilliseconds: min(milliseconds, 100)).contains(.input) else { return }
        while !deadline.hasPassed {
            switch try receive() {
            case .frame: continue
            case .nothing: return
            case .ended: return
            }
        }
    }

    /// Whether the socket takes something now.
    private var isWritable: Bool {
        Readiness.wait(socket: session.socket, write: true, wakeup: -1, nanoseconds: 0).socketWritable
    }

    /// Moves output to the socket as far as it takes it, and the newest status behind it.
    private mutating func flushOutput() throws(PostgresError) {
        while stream.hasOutput {
            if stream.holdsOutput {
                let left = PQflush(session.connection)
                guard left >= 0 else { throw failed() }
                stream.holdsOutput = left == 1
                // libpq reads while it cannot write, so that neither side waits for the other; `poll` does not see what it has.
                if left == 1 {
                    stream.mayHoldInput = true
                    return
                }
            }
            guard let status = stream.pendingStatus else { return }
            let sent = status.bytes.withUnsafeBytes {
                PQputCopyData(
                    session.connection, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32($0.count))
            }
            guard sent >= 0 else { throw failed() }
            // 0: no room in libpq's buffer; it stays pending.
            if sent == 1 { stream.pendingStatus = nil }
            stream.holdsOutput = true
        }
    }

    /// After the last message: in order, or with an error of the server's.
    private mutating func endOfCopy() throws(PostgresError) -> Received {
        stream.phase = .ended
        guard let result = PQgetResult(session.connection).map({ QueryResult($0) }) else { return .ended }
        if result.isError { throw session.error(result.pointer, during: .streaming) }
        return .ended
    }

    /// - Parameter message: one that was taken already.
    private mutating func skipped(_ message: UnsafeMutablePointer<CChar>?) -> PostgresError {
        PQfreemem(message)
        return stream.warnings.error ?? failed()
    }

    private mutating func failed() -> PostgresError {
        stream.phase = .ended
        return session.error(during: .streaming)
    }
}

extension Session {
    /// How long not to look at this socket while the stream is busy (`ReceivePacing`).
    var pauseNanoseconds: UInt64 {
        guard option(SO_DOMAIN) == AF_UNIX, let buffer = option(SO_SNDBUF) else { return ReceivePacing.longestPause }
        // Ours, and the server's too: the two ends are made a moment apart, with the same default.
        return ReceivePacing.pauseNanoseconds(unixSocketBuffer: Int(buffer))
    }

    private func option(_ name: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(socket, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
    }
}
