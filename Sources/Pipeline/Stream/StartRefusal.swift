package import ChangeData
import Dates

/// Why a stream may not start, or may not go on: changes are lost, or may be (C8).
package struct StartRefusal: Error, Equatable, Sendable {
    package enum Kind: String, Sendable {
        case noPosition = "no-position"
        case otherCluster = "other-cluster"
        case otherKafka = "other-kafka"
        case timelineDiverged = "timeline-diverged"
        case serverBehind = "server-behind"
        case slotMissing = "slot-missing"
        case slotForeign = "slot-foreign"
        case slotInvalidated = "slot-invalidated"
        case slotAhead = "slot-ahead"
        case optionsChanged = "options-changed"
        case publicationMissing = "publication-missing"
        case tableUnpublished = "table-unpublished"
        case operationUnpublished = "operation-unpublished"
        case tableMissing = "table-missing"
        case unreadablePosition = "unreadable-position"
    }

    package var kind: Kind
    package var message: String
    /// Where Kafka's copy ends.
    package var stored: LSN?
    /// Where the server can go on.
    package var available: LSN?
    /// Commit time of the last transaction in Kafka, and the server's clock, microseconds since 1970.
    package var since: (committed: Int64, now: Int64)?
    package var hints: [String]

    package init(
        _ kind: Kind, _ message: String, stored: LSN? = nil, available: LSN? = nil, hints: [String] = []
    ) {
        self.kind = kind
        self.message = message
        self.stored = stored
        self.available = available
        self.hints = hints
    }

    package static func == (one: StartRefusal, other: StartRefusal) -> Bool {
        one.kind == other.kind && one.message == other.message && one.stored == other.stored
            && one.available == other.available && one.hints == other.hints
            && one.since?.committed == other.since?.committed && one.since?.now == other.since?.now
    }

    /// Bytes of WAL between what Kafka has and what the server can still give; nil where they cannot be compared.
    package var lostBytes: UInt64? {
        guard kind != .otherCluster, let stored, let available, available > stored else { return nil }
        return available.rawValue - stored.rawValue
    }

    /// Exit 3, with both LSNs, the loss and the ways out.
    package var exit: AgentExit {
        var details = ["kind: \(kind.rawValue)"]
        if let stored { details.append("stored position: \(stored)") }
        if let available { details.append("available from: \(available)") }
        if let loss { details.append(loss) }
        if let since, since.committed > 0 {
            let seconds = max(0, since.now - since.committed) / 1_000_000
            details.append(
                "the last transaction in Kafka was committed at \(ISOTime.text(microseconds: since.committed)), "
                    + "\(seconds) s before now")
        }
        return AgentExit(.gap, message, details: details, hints: hints)
    }

    private var loss: String? {
        guard let stored, let available else { return nil }
        if kind == .otherCluster { return "lost: not to be told, positions of two clusters do not compare" }
        if kind == .tableMissing { return nil }
        if kind == .otherKafka { return "lost: what this cluster lacks of what the other one had" }
        if let lostBytes { return "lost: up to \(lostBytes) bytes of WAL" }
        if [.publicationMissing, .tableUnpublished, .operationUnpublished].contains(kind) {
            return "lost: what the tables are given until they are published again"
        }
        guard available < stored else { return "lost: nothing" }
        return "Kafka is ahead of the server by \(stored.rawValue - available.rawValue) bytes of WAL"
    }
}
