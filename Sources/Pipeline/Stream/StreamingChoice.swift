import ChangeData

/// Whether the next session uses protocol 2: what one session leaves to the next ones. A decision without a server.
///
/// A transaction that cannot be kept is streamed again from its start in every session until it is over, so that protocol 1
/// stays until then. Without it, there would be no progress while the two take turns.
struct StreamingChoice: Equatable, Sendable {
    private enum State: Equatable, Sendable {
        case on
        /// Until no transaction is open that was open at this LSN.
        case offUntilOver(LSN)
        case off
    }
    private var state = State.on

    init() {}

    /// A session gave up.
    /// - Parameter lsn: up to where the server has decoded, at least.
    mutating func refused(_ kind: StreamingRefusal.Kind, at lsn: LSN) {
        switch kind {
        case .spool, .disk, .subtransactions:
            if state != .off { state = .offUntilOver(lsn) }
        // Where one came from, more will come.
        case .origin: state = .off
        }
    }

    /// Asked as a session starts.
    /// - Parameter restart: the slot's `restart_lsn`: decoding needs nothing before it, so that no transaction is open that
    ///   wrote there.
    mutating func isOn(restart: LSN?) -> Bool {
        if case .offUntilOver(let lsn) = state, let restart, restart > lsn { state = .on }
        return state == .on
    }
}
