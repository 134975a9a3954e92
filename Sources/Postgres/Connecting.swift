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
                // As with libpq: a host that answers and refuses us ends the search.
                guard [.transient, .timedOut, .shuttingDown].contains(error.kind) else { break }
            }
        }
        throw failure
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
