import CPostgres
import Synchronization

/// What the walsender warns of beside the stream.
///
/// From 18 on a publication that does not exist where the server reads is no error: it is passed over with a warning, and with it all rows
/// that it would have sent (`LoadPublications` in `pgoutput.c`).
final class StreamWarnings: Sendable {
    private let skipped = Mutex<PostgresError?>(nil)
    private let hasSkipped = Atomic(false)

    /// Whether the server has passed over a publication. Cheap: asked before each message.
    var isSkipping: Bool { hasSkipped.load(ordering: .relaxed) }

    /// Why nothing may be taken from the stream any more; nil while all is well.
    var error: PostgresError? { skipped.withLock { $0 } }

    /// Listens to what the connection's server says from now on. Keep `self` until it is closed.
    func listen(to connection: OpaquePointer) {
        // Sound unretained: only calls on this connection use it, and its owner makes them while it has `self`.
        PQsetNoticeReceiver(
            connection,
            { context, result in
                guard let context, let result else { return }
                Unmanaged<StreamWarnings>.fromOpaque(context).takeUnretainedValue().hear(result)
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    private func hear(_ result: OpaquePointer) {
        // Of a walsender's warnings only this one has this code: object_not_in_prerequisite_state.
        let state = PostgresError.field(result, .sqlState)
        guard PostgresError.field(result, .severity) == "WARNING", state == "55000" else { return }
        skipped.withLock {
            $0 = PostgresError(
                .undefined, PostgresError.field(result, .message) ?? "a publication was skipped", sqlState: state,
                detail: PostgresError.field(result, .detail), hint: PostgresError.field(result, .hint))
        }
        hasSkipped.store(true, ordering: .relaxed)
    }
}
