import CPostgres
import Glibc

/// Owns one `PGconn`, non-blocking, and waits for it with deadlines. Both kinds of connection are built on it.
struct Session: ~Copyable {
    /// Valid until `deinit`; leaves this module in no form.
    let connection: OpaquePointer
    /// Set when an answer is outstanding that nobody will read: nothing more can be asked.
    private(set) var isBroken = false

    deinit { PQfinish(connection) }

    init(
        _ settings: ConnectionSettings, applicationName: String, replication: Bool, timeout: Duration,
        limit: Duration? = nil
    ) throws(PostgresError) {
        let deadline = Deadline(after: settings.connectTimeout ?? timeout)
        connection = try Connecting.open(
            settings.attempts(applicationName: applicationName, replication: replication),
            deadline: limit.map(deadline.capped) ?? deadline)
    }

    var socket: Int32 { PQsocket(connection) }

    func error(_ result: OpaquePointer? = nil, during activity: Activity) -> PostgresError {
        PostgresError(result, on: connection, during: activity)
    }

    /// Runs one command (several, without parameters) to its end and returns the last result.
    ///
    /// At the deadline, or when `whileWaiting` (called about once a second) answers false, the command is cancelled. A command that
    /// has succeeded all the same counts as a success.
    mutating func run(
        _ sql: String, _ parameters: [String?] = [], during activity: Activity, deadline: Deadline,
        whileWaiting: (() -> Bool)? = nil
    ) throws(PostgresError) -> QueryResult {
        try send(sql, parameters, during: activity)
        do throws(PostgresError) {
            return try finish(during: activity, deadline: deadline, whileWaiting: whileWaiting)
        } catch  where error.kind == .timedOut {
            cancel()
            do throws(PostgresError) {
                return try finish(during: activity, deadline: Deadline(after: .seconds(2)), whileWaiting: nil)
            } catch let second {
                if second.kind == .timedOut { isBroken = true }
                if second.kind == .cancelled || second.kind == .timedOut { throw error }
                throw second
            }
        }
    }

    /// Sends a command; the answer is still to be read.
    mutating func send(_ sql: String, _ parameters: [String?] = [], during activity: Activity) throws(PostgresError) {
        guard !isBroken else {
            throw PostgresError(.transient, "the connection was given up after an earlier time-out")
        }
        guard !sql.utf8.contains(0), !parameters.contains(where: { $0?.utf8.contains(0) == true }) else {
            throw PostgresError(.fatal, "a statement or parameter holds a zero byte")
        }
        // Without parameters the simple protocol: it allows several statements, and replication commands know no other.
        let sent =
            parameters.isEmpty
            ? PQsendQuery(connection, sql)
            : CStrings.withPointers(parameters) {
                PQsendQueryParams(connection, sql, Int32(parameters.count), nil, $0, nil, nil, 0)
            }
        guard sent == 1 else { throw error(during: activity) }
    }

    /// The next result of the running command, or nil at its end.
    func nextResult(
        during activity: Activity, deadline: Deadline, whileWaiting: (() -> Bool)? = nil
    ) throws(PostgresError) -> QueryResult? {
        while true {
            let unsent = PQflush(connection)
            guard unsent >= 0 else { throw error(during: activity) }
            if unsent == 0, PQisBusy(connection) == 0 {
                guard let result = PQgetResult(connection) else { return nil }
                return QueryResult(result)
            }
            guard !deadline.hasPassed else {
                throw PostgresError(.timedOut, "PostgreSQL has not answered in time")
            }
            let slice = whileWaiting == nil ? deadline : deadline.capped(after: .seconds(1))
            let ready = Readiness.wait(
                socket: socket, write: unsent == 1, wakeup: -1, nanoseconds: slice.remaining)
            if ready.socketReadable, PQconsumeInput(connection) == 0 { throw error(during: activity) }
            if !ready.socketReadable, !ready.socketWritable, let whileWaiting, !whileWaiting() {
                throw PostgresError(.timedOut, "PostgreSQL had not answered when the wait was ended")
            }
        }
    }

    /// Reads results to the end (or to the start of a COPY); the first error is thrown when all is read.
    private func finish(
        during activity: Activity, deadline: Deadline, whileWaiting: (() -> Bool)?
    ) throws(PostgresError) -> QueryResult {
        var failure: PostgresError?
        var last: QueryResult?
        while let result = try nextResult(during: activity, deadline: deadline, whileWaiting: whileWaiting) {
            if result.isError {
                failure = failure ?? error(result.pointer, during: activity)
            } else {
                let startsCopy = result.startsCopy
                last = consume result
                if startsCopy { break }
            }
        }
        if let failure { throw failure }
        guard let last else { throw error(during: activity) }
        return last
    }

    /// Asks the server to cancel. libpq opens a second connection for it; `tcp_user_timeout` bounds its wait.
    func cancel() {
        guard let request = PQgetCancel(connection) else { return }
        defer { PQfreeCancel(request) }
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            // A failure is not reported: the wait that follows has its own deadline.
            _ = PQcancel(request, buffer.baseAddress, Int32(buffer.count))
        }
    }

    /// Gives up a running command: cancels it and reads what is left.
    mutating func abandon() {
        cancel()
        let deadline = Deadline(after: .seconds(2))
        do throws(PostgresError) {
            while try nextResult(during: .query, deadline: deadline) != nil {}
        } catch {
            isBroken = true
        }
    }
}

/// Owns one `PGresult`.
struct QueryResult: ~Copyable {
    let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) { self.pointer = pointer }

    deinit { PQclear(pointer) }

    var status: ExecStatusType { PQresultStatus(pointer) }

    var isError: Bool {
        switch status {
        case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE, PGRES_NONFATAL_ERROR, PGRES_PIPELINE_ABORTED: true
        default: false
        }
    }

    var startsCopy: Bool {
        switch status {
        case PGRES_COPY_BOTH, PGRES_COPY_IN, PGRES_COPY_OUT: true
        default: false
        }
    }
}

/// Lends Swift strings to C for the length of a call.
enum CStrings {
    static func withPointers<R>(_ strings: [String?], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> R) -> R {
        let copies = strings.map { $0.flatMap { strdup($0) } }
        defer { for copy in copies { free(copy) } }
        return copies.map { UnsafePointer($0) }.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}
