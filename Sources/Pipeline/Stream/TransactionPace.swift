/// When a Kafka transaction may begin: when the coordinator has written the markers of the one before.
///
/// A commit is answered before its markers are written. Until they are, the coordinator refuses the next transaction's first
/// partition (CONCURRENT_TRANSACTIONS), and librdkafka asks again 20 ms later: back to back, each small transaction would take
/// that much longer. Nothing tells when the markers are there, so it is learned: the pause shrinks as long as transactions take
/// no longer than the shortest lately, and grows when one does.
package struct TransactionPace: Equatable, Sendable {
    /// The longest pause, nanoseconds: also the first, so that what is shortest is known before any is too short.
    package static let most: Int64 = .milliseconds(10)
    package static let least: Int64 = 200_000
    /// librdkafka's 20 ms, less what two transactions may differ by otherwise.
    private static let penalty: Int64 = .milliseconds(15)
    /// Transactions after which a shortest time is forgotten: clusters change.
    private static let window = 512

    /// Nanoseconds from the return of a commit to the next begin.
    package private(set) var pause = most
    private var ended: Int64?
    private var began: Int64 = 0
    private var shortest: Int64 = .max
    private var shortestBefore: Int64 = .max
    private var seen = 0
    private var hasMissed = false

    package init() {}

    /// How long to wait before a transaction begins, nanoseconds.
    package func wait(now: Int64) -> Int64 {
        guard let ended else { return 0 }
        return max(0, ended &+ pause &- now)
    }

    /// How long ago the last transaction began, nanoseconds; 0 before the first.
    package func age(now: Int64) -> Int64 { began == 0 ? 0 : now &- began }

    /// A transaction begins.
    package mutating func begins(now: Int64) { began = now }

    /// Its commit has returned.
    /// - Parameter isSmall: whether it had so little to send that its time is the coordinator's.
    package mutating func committed(now: Int64, isSmall: Bool) {
        let previous = ended
        ended = now
        guard isSmall else { return }
        let took = now &- began
        let usual = min(shortest, shortestBefore)
        learn(took)
        // One that began long after the one before tells nothing of the pause.
        guard let previous, began &- previous < Self.most &+ Self.penalty, usual < .max else { return }
        if took > usual &+ Self.penalty {
            hasMissed = true
            pause = min(Self.most, max(pause &+ .milliseconds(1), pause &+ pause / 2))
        } else {
            // Fast until the first miss; then so slowly that one in fifty is. (A miss costs 20 ms, and every other row waits for
            // the pause: at a 256th a row took 3 to 5 ms longer at the median, at a 32nd 10 ms longer at the 99th percentile.)
            pause = max(Self.least, pause &- pause / (hasMissed ? 96 : 16))
        }
    }

    private mutating func learn(_ took: Int64) {
        shortest = min(shortest, took)
        seen += 1
        guard seen >= Self.window else { return }
        seen = 0
        shortestBefore = shortest
        shortest = .max
    }
}
