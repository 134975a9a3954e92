/// When to believe that a position is gone, though its slot is there: a decision without a clock.
///
/// A broker that has just come back may for a moment not show what it holds, and a gap is for a human to decide (C8): it is
/// looked at again for a while first, longer by an agent that has read the position before.
package struct MissingPosition: Equatable, Sendable {
    package static let patience: Int64 = .seconds(3)
    package static let patienceOfOneThatStreamed: Int64 = .seconds(30)

    private var since: Int64?

    package init() {}

    /// The position was not shown: whether that has been so for long enough.
    package mutating func isGone(now: Int64, hasStreamed: Bool) -> Bool {
        let first = since ?? now
        since = first
        return now &- first >= (hasStreamed ? Self.patienceOfOneThatStreamed : Self.patience)
    }

    /// It was shown.
    package mutating func found() { since = nil }
}
