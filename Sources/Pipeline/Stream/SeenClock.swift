package import ChangeData

/// The source's clock as looks at the server tell it, whatever commit times say: all that had been committed at the time of a look
/// is in Kafka once Kafka holds the WAL up to where it ended then. A stream that is behind gets to one look after the other.
package struct SeenClock: Sendable {
    /// A look whose end of the WAL has not been reached.
    private var awaited: (lsn: LSN, clock: Int64)?

    package init() {}

    /// The clock of the latest look that is reached, microseconds since 1970; 0 where none is.
    /// - Parameters:
    ///   - lsn: all that was committed before it is in Kafka.
    ///   - latest: the newest look; its clock is 0 where there was none.
    package mutating func reached(_ lsn: LSN, latest: (lsn: LSN, clock: Int64)) -> Int64 {
        guard latest.clock > 0 else { return 0 }
        if lsn >= latest.lsn {
            awaited = nil
            return latest.clock
        }
        guard let look = awaited, lsn >= look.lsn else {
            awaited = awaited ?? latest
            return 0
        }
        awaited = latest
        return look.clock
    }
}
