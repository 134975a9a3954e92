package import ChangeData

/// What the progress topic says: how far Kafka holds what PostgreSQL committed. Written in the same Kafka transaction as
/// the rows it speaks of, so that it cannot be wrong.
package struct StoredPosition: Equatable, Sendable {
    /// How far the set-up of the slot has come.
    package enum State: String, Sendable {
        /// `init` has begun; the slot may or may not exist.
        case creating
        /// The slot exists and its consistent point is known.
        case streaming
    }

    /// A loss that a human has accepted with `init --accept-gap`.
    package struct AcceptedGap: Equatable, Sendable {
        /// What was lost, as `StartRefusal.kind` spells it.
        package var kind: String
        /// The last position that Kafka holds before the gap.
        package var from: LSN
        /// The first position after it.
        package var to: LSN
        /// The epoch that began after it.
        package var epoch: UInt32
        /// When it was accepted, microseconds since 1970.
        package var acceptedAt: Int64

        package init(kind: String, from: LSN, to: LSN, epoch: UInt32, acceptedAt: Int64) {
            self.kind = kind
            self.from = from
            self.to = to
            self.epoch = epoch
            self.acceptedAt = acceptedAt
        }
    }

    package var systemID: String
    package var timeline: UInt32
    package var slot: String
    /// Grows when a gap is accepted or the cluster changes; positions compare only within one.
    package var epoch: UInt32
    /// End of the last whole transaction, or an idle position: where replication restarts.
    package var lsn: LSN
    /// The commit LSN of the transaction that `ordinal` counts in; else of the last whole one, 0 before the first.
    package var commitLSN: LSN
    /// How many changes of a split transaction Kafka holds; 0 when none is split.
    package var ordinal: UInt64
    /// The part of the split transaction that comes next, from 2; 0 when none is split.
    package var splitPart: Int
    /// The commit time of the last transaction, microseconds since 1970; 0 before the first.
    package var commitTime: Int64
    /// The source's clock, microseconds since 1970, of which this holds: all that it had committed by then is in Kafka, but for
    /// commits that were a moment late (C6). 0 where it is not known.
    package var clock: Int64 = 0
    /// What the stream was set up with: publication and plugin options.
    package var options: String
    package var state: State
    package var gaps: [AcceptedGap]
    /// How many partitions the data topics have.
    package var partitions = PartitionPins()
    /// How records are spelled; nil where an older sluice wrote the record.
    package var format: FormatPin?
    /// What the replay window remembers; none without a window.
    package var marks: [ReplayWindow.Mark]
    /// The OID of the publication that `init` found or made; nil where an older sluice wrote the record.
    package var publication: UInt32?
    /// The publication as it was last seen with nothing amiss; nil where an older sluice wrote the record.
    package var mark: PublicationMark?
    /// Messages outside transactions that end here or before may be in Kafka, later ones are not; nil where an older sluice wrote the
    /// record.
    package var messages: LSN?
    /// The Kafka cluster's identifier; nil where it has none, or an older sluice wrote the record.
    package var cluster: String?
    /// Of a replay's own position: the range of the replay.
    package var replay: ReplayRange?

    package init(
        systemID: String, timeline: UInt32, slot: String, epoch: UInt32, lsn: LSN, commitLSN: LSN = LSN(0),
        ordinal: UInt64 = 0, splitPart: Int = 0, commitTime: Int64 = 0, options: String, state: State,
        gaps: [AcceptedGap] = [], marks: [ReplayWindow.Mark] = [], replay: ReplayRange? = nil
    ) {
        self.systemID = systemID
        self.timeline = timeline
        self.slot = slot
        self.epoch = epoch
        self.lsn = lsn
        self.commitLSN = commitLSN
        self.ordinal = ordinal
        self.splitPart = splitPart
        self.commitTime = commitTime
        self.options = options
        self.state = state
        self.gaps = gaps
        self.marks = marks
        self.replay = replay
    }
}

extension StoredPosition {
    /// Whether it holds more than another one does.
    func isAhead(of other: StoredPosition?) -> Bool {
        guard let other else { return true }
        return (epoch, lsn, commitLSN, ordinal) > (other.epoch, other.lsn, other.commitLSN, other.ordinal)
    }

    /// Forgets a clock of the source that is ahead of ours: hours would be sealed by it that have not come, and it would never be mended.
    /// - Parameter now: our clock, microseconds since 1970.
    package mutating func forgetClock(aheadOf now: Int64) {
        if clock > now &+ 60_000_000 { clock = 0 }
    }

    /// The epochs that the stream has had, as the losses on record tell: none where there is but the one.
    var epochs: [Epoch] {
        guard let first = gaps.first else { return [] }
        return [Epoch(begin: LSN(0), number: max(first.epoch, 1) - 1)]
            + gaps.map { gap in
                // The stream went on where it was, or behind what was lost; or before, at a server that had gone back. What was before that
                // in another cluster no server can send here.
                let begin =
                    gap.kind == StartRefusal.Kind.otherCluster.rawValue
                    ? LSN(0) : gap.to > LSN(0) ? min(gap.from, gap.to) : gap.from
                return Epoch(begin: begin, number: gap.epoch)
            }
    }

    /// Whether Kafka holds this change, if this is what it holds.
    func covers(_ change: EventPosition) -> Bool {
        guard change.epoch == epoch else { return change.epoch < epoch }
        return change.isBehind(lsn) || ordinal > 0 && change.commitLSN == commitLSN && change.ordinal <= ordinal
    }
}
