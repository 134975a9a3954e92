/// Whether the end of a Kafka transaction may not have reached all its partitions.
///
/// A coordinator answers a commit before it has written the markers. One that is killed in between, or that finds a partition
/// without a leader, may end the transaction without them (`HangingTransactions`), and then the *next* end of this producer
/// decides about both: an abort would take committed rows away. A process that ends closes its connections, so this is told from
/// connections that were lost:
///
/// - none since the last end, or none before a record of the open transaction was acknowledged: the coordinator takes no record
///   of a transaction before the one before it has ended everywhere;
/// - else nothing more may be ended by this producer before somebody has looked.
///
/// Not seen is a leader that the controller alone has lost, with no other replica in sync, while its connection to us lives.
struct EndInDoubt: Equatable {
    /// Connections that had been lost when the last end was known to be everywhere.
    private var settled = 0
    /// Whether a record of the open transaction was acknowledged before a connection was lost.
    private(set) var isFollowed = false

    init() {}

    /// Whether a look is due. The argument is `TransactionalProducer.connectionsLost` each time.
    func isDue(_ lost: Int) -> Bool { lost != settled }

    /// Whether the open transaction may not be sent on: the one before it is in doubt.
    func forbidsRecords(_ lost: Int) -> Bool { lost != settled && !isFollowed }

    /// Records of the open transaction were acknowledged.
    mutating func acknowledged(_ lost: Int) {
        if lost == settled { isFollowed = true }
    }

    /// A transaction was committed or aborted.
    mutating func ended() { isFollowed = false }

    /// A look, begun when so many connections had been lost, has found nothing undecided; or a new producer has ended all.
    mutating func isSettled(_ lost: Int) {
        settled = lost
        isFollowed = false
    }
}
