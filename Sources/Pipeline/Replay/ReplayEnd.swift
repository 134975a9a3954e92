import ChangeData

/// Whether a stream has passed the end of a replay's range.
///
/// Transactions come in the order of their commit LSNs, so the first that begins at or behind the end says that none before it
/// is missing. Where none follows, the server says how far it has sent: a position outside any transaction.
struct ReplayEnd: Equatable {
    let end: LSN
    private(set) var isReached = false

    init(at end: LSN) { self.end = end }

    /// A transaction begins whose commit record begins here.
    mutating func began(at commitLSN: LSN) { if commitLSN >= end { isReached = true } }

    /// A message outside any transaction comes, whose record ends here.
    mutating func message(endingAt lsn: LSN) { if lsn > end { isReached = true } }

    /// The server has sent everything before `lsn`, and no transaction is open.
    mutating func sent(upTo lsn: LSN) { if lsn >= end { isReached = true } }
}
