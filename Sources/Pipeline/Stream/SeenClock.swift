package import ChangeData

/// The source's clock as looks at the server tell it, whatever commit times say: all that had been committed at the time of a look
/// has come once the WAL has up to where it ended then. A stream that is behind gets to one look after the other.
///
/// It is told where transactions end, in the order of the stream: what comes behind, and has no commit time of its own, is dated by it,
/// and so never before an hour that it has sealed.
package struct SeenClock: Sendable {
    /// A look whose end of the WAL has not been reached.
    private var awaited: (lsn: LSN, clock: Int64)?

    package init() {}

    /// The clock of the latest look that is reached, microseconds since 1970; 0 where none is.
    /// - Parameters:
    ///   - lsn: all that was committed before it has come.
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
