package import ChangeData
import Dates

/// What a replay sends again: the whole transactions whose commit LSN (as in `sluice.pos`: where the commit record begins)
/// is in `from..<to`, and the messages outside transactions whose LSN is.
package struct ReplayRange: Equatable, Sendable {
    package var from: LSN
    package var to: LSN

    package init(from: LSN, to: LSN) {
        self.from = from
        self.to = to
    }
}

/// What tells a replay from the live stream: other topics, another producer, a position of its own, and an end.
package struct ReplayScope: Equatable, Sendable {
    /// The value of the header `sluice.replay`.
    package let id: String
    /// The agent's name.
    package let name: String
    /// Comes before the name of every topic.
    package let topicPrefix: String
    package var range: ReplayRange
    /// The epochs that the live stream has had: what is replayed has the positions that it had.
    package var epochs: [Epoch] = []

    /// Kafka's name for the producer, and the topic of the position: one topic for each replay, so that it has one writer and
    /// one key, and replays that run side by side know nothing of each other.
    package var transactionalID: String { "sluice.\(name).replay.\(id)" }

    /// The temporary slot: that it exists says that this replay runs.
    package var slot: String { "sluice_replay_\(id)" }
}

/// What a user asks to be replayed.
package struct ReplayRequest: Equatable, Sendable {
    package enum Bound: Equatable, Sendable {
        case lsn(LSN)
        /// Microseconds since 1970.
        case time(Int64)

        var text: String {
            switch self {
            case .lsn(let lsn): lsn.description
            case .time(let time): ISOTime.text(microseconds: time)
            }
        }
    }

    /// From there on. A time: from the first commit at or after it.
    package var from: Bound
    /// Up to there, exclusive. A time: up to the first commit at or after it. Nil: all that the live stream has published when
    /// the replay begins.
    package var to: Bound?
    package var topicPrefix: String

    package init(from: Bound, to: Bound?, topicPrefix: String) {
        self.from = from
        self.to = to
        self.topicPrefix = topicPrefix
    }

    /// The same for the same request of the same agent, so that the command that was interrupted, given again, goes on.
    package func id(name: String) -> String {
        let text = [name, from.text, to?.text ?? "", topicPrefix].joined(separator: "\n")
        // FNV-1a, 64 bits: short enough for a slot's name; no secret depends on it.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// The scope of this request of an agent.
    package func scope(name: String, range: ReplayRange) -> ReplayScope {
        ReplayScope(id: id(name: name), name: name, topicPrefix: topicPrefix, range: range)
    }
}
