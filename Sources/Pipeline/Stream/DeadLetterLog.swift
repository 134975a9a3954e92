import ChangeData
import Telemetry

/// Tells of rows that go to the dead-letter topic: of the first at once, then of one a minute, with the number of those between.
/// All are counted in the metrics.
struct DeadLetterLog {
    private static let interval: Int64 = .seconds(60)
    private var toldAt: Int64?
    private var untold = 0

    /// - Parameter now: nanoseconds since 1970.
    mutating func note(_ why: ChangeDataError, _ log: Logger, now: Int64) {
        if let toldAt, now >= toldAt, now - toldAt < Self.interval {
            untold += 1
            return
        }
        log.error(
            "a row goes to the dead-letter topic", ["reason": .init(why.description), "untold_before": .init(untold)])
        toldAt = now
        untold = 0
    }
}
