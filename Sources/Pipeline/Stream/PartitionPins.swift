/// How many partitions each data topic had when it was first written to. Another count sends a key to another partition, and its
/// order is lost (trap 52): so a change is refused, not followed.
package struct PartitionPins: Equatable, Sendable {
    /// The count of most topics; nil before the first.
    package var usual: Int32?
    /// The topics that have another.
    package var others: [String: Int32] = [:]

    package init() {}

    package enum Judgement: Equatable, Sendable {
        /// As it was, or new.
        case fits
        /// It was another number.
        case changed(from: Int32)
    }

    /// Whether a topic's count is what it should be, be it empty or not: then nobody has to be asked.
    package func agree(with topic: String, count: Int32) -> Bool {
        guard let pinned = others[topic] ?? usual else { return true }
        return pinned == count
    }

    /// Looks at a topic that is about to be written to, and remembers a new one.
    /// - Parameter isEmpty: whether nothing was ever written to it: asked only where the answer makes a difference.
    package mutating func judge<E: Error>(
        _ topic: String, count: Int32, isEmpty: () throws(E) -> Bool
    ) throws(E) -> Judgement {
        guard let pinned = others[topic] ?? usual else {
            usual = count
            return .fits
        }
        if pinned == count { return .fits }
        guard others[topic] == nil else { return .changed(from: pinned) }
        guard try isEmpty() else { return .changed(from: pinned) }
        others[topic] = count
        return .fits
    }

    /// What a change means, to follow the topic's name.
    static func text(of count: Int32, before: Int32) -> String {
        "has \(count) partitions, it had \(before): its keys would go to other partitions"
    }

    /// A human has taken note of the change.
    package mutating func accept(_ topic: String, count: Int32) {
        if usual == nil { usual = count }
        others[topic] = usual == count ? nil : count
    }
}
