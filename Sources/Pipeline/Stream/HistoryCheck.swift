package import ChangeData

/// Whether the server's WAL is the one that the stored position was taken from (C8).
///
/// A server that was restored to an older point, by the copy of a disk, has the same system identifier and timeline, and once it has
/// been written to for long enough its WAL ends behind the position as well. What was committed up to there since the restore would be
/// passed over. So replication starts where the last transaction that Kafka holds was committed: unless the slot is past it, the server
/// sends it again, and up to the position no other change. (Before 15 it also sends the ends of transactions without any.) Where Kafka
/// holds none yet, replication starts where the slot stands, and no change may come up to the position.
package struct HistoryCheck {
    /// The commit of the last transaction of which Kafka holds something; before the first: where the stream began.
    private let last: (lsn: LSN, time: Int64)
    /// No other change is committed before it.
    package let end: LSN
    /// Where the slot was when replication started.
    package let confirmed: LSN
    /// Messages outside transactions that end here or before may be Kafka's; nil: all may be.
    private let messages: LSN?
    /// Whether `last` has yet to come.
    private var isAwaited: Bool
    /// Whether a transaction between the two has begun.
    private var isBetween = false

    /// - Parameters:
    ///   - stored: what Kafka holds.
    ///   - confirmed: where the slot was when replication started.
    /// - Returns: nil where the server sends nothing that could be compared.
    package init?(_ stored: StoredPosition, confirmed: LSN) {
        guard let last = Self.last(stored) else { return nil }
        self.last = last
        // Of a transaction that is half in Kafka the rest must come.
        end = stored.ordinal > 0 ? LSN(stored.commitLSN.rawValue &+ 1) : stored.lsn
        guard confirmed < end else { return nil }
        self.confirmed = confirmed
        messages = stored.messages
        isAwaited = stored.commitLSN > LSN(0) && confirmed <= stored.commitLSN
    }

    /// Where replication must start for this; zero: where the slot stands.
    package static func start(_ stored: StoredPosition) -> LSN {
        if stored.ordinal == 0, stored.commitLSN > LSN(0) { return min(stored.commitLSN, stored.lsn) }
        return stored.commitLSN == LSN(0) && last(stored) != nil ? LSN(0) : stored.lsn
    }

    private static func last(_ stored: StoredPosition) -> (lsn: LSN, time: Int64)? {
        // Before `mark`, an older sluice stored where logical messages were as well.
        guard stored.mark != nil else { return nil }
        if stored.commitLSN > LSN(0) { return (stored.commitLSN, stored.commitTime) }
        // Of one that an older sluice has written nobody knows whether it says so, or only forgets.
        guard stored.messages != nil else { return nil }
        guard let gap = stored.gaps.last else { return (LSN(0), 0) }
        // What the slot still has from before a gap Kafka holds, in another epoch.
        return gap.to > LSN(0) ? (gap.to, 0) : nil
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
        return isAwaited ? .differs : .fits
    }

    /// The transaction that has begun has a change.
    package func changed() -> Result { isBetween ? .differs : .fits }

    /// A message outside any transaction comes, whose record ends here.
    package func message(endingAt lsn: LSN) -> Result {
        guard let messages, lsn > messages, lsn <= end else { return .fits }
        return .differs
    }

    /// The server has sent all that was committed before this.
    package func sent(upTo lsn: LSN) -> Result {
        if lsn < end { return .fits }
        return isAwaited ? .differs : .proven
    }
}
