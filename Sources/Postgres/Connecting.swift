import CPostgres

/// Opens a connection within a deadline: libpq's asynchronous connect, one host after the other.
///
/// Name resolution alone is outside of the deadline: `getaddrinfo` cannot be interrupted.
enum Connecting {
    static func open(_ attempts: [[String: String]], deadline: Deadline) throws(PostgresError) -> OpaquePointer {
        var failure = PostgresError(.timedOut, "PostgreSQL could not be reached in time")
        for (index, keywords) in attempts.enumerated() {
            let share = deadline.remainingDuration / (attempts.count - index)
            do throws(PostgresError) {
                return try open(keywords, deadline: deadline.capped(after: share))
            } catch {
                failure = error
                guard endsNoSearch(error, keywords) else { break }
            }
        }
        throw failure
    }

    /// As with libpq: a host that answers and refuses us ends the search, unless it is not up. Also one that is short of something, such as
    /// connections: the next host may be a standby, which has neither the slot nor the tables as they are. Where the string says what server it
    /// wants, no other is taken for it.
    private static func endsNoSearch(_ error: PostgresError, _ keywords: [String: String]) -> Bool {
        switch error.kind {
        case .timedOut, .shuttingDown: true
        case .transient: error.sqlState == nil || keywords["target_session_attrs", default: "any"] != "any"
        default: false
        }
    }

    private static func open(_ keywords: [String: String], deadline: Deadline) throws(PostgresError) -> OpaquePointer {
        let pairs = Array(keywords)
        let started = CStrings.withPointers(pairs.map(\.key) + [nil]) { names in
            CStrings.withPointers(pairs.map(\.value) + [nil]) { values in PQconnectStartParams(names, values, 0) }
        }
        guard let connection = started else { throw PostgresError(.transient, "no memory for a connection") }
        do throws(PostgresError) {
            try complete(connection, deadline: deadline)
            return connection
        } catch {
            PQfinish(connection)
            throw error
        }
    }

    private static func complete(_ connection: OpaquePointer, deadline: Deadline) throws(PostgresError) {
        // The verbose form is the only one that carries the SQLSTATE of a refused connection.
        PQsetErrorVerbosity(connection, PQERRORS_VERBOSE)
        // Notices would go to standard error.
        PQsetNoticeProcessor(connection, { _, _ in }, nil)
        guard PQstatus(connection) != CONNECTION_BAD else {
            throw PostgresError(nil, on: connection, during: .connecting)
        }
        var waitsToWrite = true
        while true {
            guard !deadline.hasPassed else {
                throw PostgresError(.timedOut, "PostgreSQL could not be reached in time")
            }
            let ready = Readiness.wait(
                socket: PQsocket(connection), write: waitsToWrite, wakeup: -1, nanoseconds: deadline.remaining)
            guard ready.socketReadable || ready.socketWritable else { continue }
            switch PQconnectPoll(connection) {
            case PGRES_POLLING_OK:
                guard PQsetnonblocking(connection, 1) == 0 else {
                    throw PostgresError(nil, on: connection, during: .connecting)
                }
                return
            case PGRES_POLLING_FAILED: throw PostgresError(nil, on: connection, during: .connecting)
            case PGRES_POLLING_WRITING: waitsToWrite = true
            default: waitsToWrite = false
            }
        }
    }
}
