package import ChangeData

/// Whether the server's WAL is the one that the stored position was taken from (C8).
///
/// A server that was restored to an older point, by the copy of a disk, has the same system identifier and timeline, and once it has
/// been written to for long enough its WAL ends behind the position as well. What was committed up to there since the restore would be
/// passed over. So replication starts where the last transaction that Kafka holds was committed: unless the slot is past it, the server
/// sends it again, and up to the position no other change. (Before 15 it also sends the ends of transactions without any.)
package struct HistoryCheck {
    /// The commit of the last transaction of which Kafka holds something.
    private let last: (lsn: LSN, time: Int64)
    /// No other change is committed before it.
    package let end: LSN
    /// Where the slot was when replication started.
    package let confirmed: LSN
    /// Whether `last` has yet to come.
    private var isAwaited: Bool
    /// Whether a transaction between the two has begun.
    private var isBetween = false

    /// - Parameters:
    ///   - stored: what Kafka holds.
    ///   - confirmed: where the slot was when replication started.
    /// - Returns: nil where the server sends nothing that could be compared.
    package init?(_ stored: StoredPosition, confirmed: LSN) {
        // Before `mark`, an older sluice stored where logical messages were as well.
        guard stored.mark != nil, stored.commitLSN > LSN(0) else { return nil }
        last = (stored.commitLSN, stored.commitTime)
        // Of a transaction that is half in Kafka the rest must come.
        end = stored.ordinal > 0 ? LSN(stored.commitLSN.rawValue &+ 1) : stored.lsn
        guard confirmed < end else { return nil }
        self.confirmed = confirmed
        isAwaited = confirmed <= stored.commitLSN
    }

    /// Where replication must start for this.
    package static func start(_ stored: StoredPosition) -> LSN {
        stored.ordinal == 0 && stored.commitLSN > LSN(0) ? min(stored.commitLSN, stored.lsn) : stored.lsn
    }

    package enum Result: Equatable {
        /// It is the same, as far as can be seen yet.
        case fits
        /// It is the same.
        case proven
        case differs
    }

    /// A transaction has begun.
    package mutating func began(_ head: TransactionHead) -> Result {
        isBetween = false
        if head.commitLSN >= end { return isAwaited ? .differs : .proven }
        if head.commitLSN == last.lsn, head.commitTime == last.time {
            isAwaited = false
            return .fits
        }
        // The slot may be further behind than where this was asked to start.
        if head.commitLSN < last.lsn { return .fits }
        isBetween = true
        return isAwaited || head.commitLSN == last.lsn ? .differs : .fits
    }

    /// The transaction that has begun has a change.
    package func changed() -> Result { isBetween ? .differs : .fits }

    /// The server has sent all that was committed before this.
    package func sent(upTo lsn: LSN) -> Result {
        if lsn < end { return .fits }
        return isAwaited ? .differs : .proven
    }
}
