package import ChangeData

/// The place of one record among all of its partition: the records of one change share a position (a changed key gives a
/// delete, a tombstone and a create), so their rank in it tells them apart.
package struct RecordMark: Comparable, Hashable, Sendable {
    package var position: EventPosition
    /// 0 a value, 1 a tombstone, 2 the create of a changed key.
    package var rank: UInt8

    package init(_ position: EventPosition, rank: UInt8) {
        self.position = position
        self.rank = rank
    }

    package static func < (one: RecordMark, other: RecordMark) -> Bool {
        one.position == other.position ? one.rank < other.rank : one.position < other.position
    }
}

/// Knows a record that is in the partition's objects already (C5).
///
/// The producer writes each partition in growing order, so a record at or below the last one written was written before: a
/// broker has shown a record of an aborted transaction (KAFKA-17754) and then the one that replaced it. That holds over
/// epochs too: an epoch ends for good, and what comes of it later is a ghost.
///
/// A ghost is never newer than what was written, also by the source's clock. A record whose position went back although its
/// commit time went on is something else: the agent was set up anew without a new epoch, and dropping its records would lose
/// them. That is a contradiction, and the sink stops.
package struct Deduplicator: Equatable, Sendable {
    package enum Decision: Equatable, Sendable {
        case write
        case drop
        /// Behind what was written by position, ahead of it by time.
        case contradiction
    }

    /// The highest record written; nil before the first.
    package private(set) var mark: RecordMark?
    /// The latest commit time written, microseconds since 1970: how far the partition knows the source's clock.
    package private(set) var watermark: Int64?

    package init(mark: RecordMark? = nil, watermark: Int64? = nil) {
        self.mark = mark
        self.watermark = watermark
    }

    /// Takes the next record of the partition.
    package mutating func take(_ next: RecordMark, commitTime: Int64) -> Decision {
        if let mark, next <= mark {
            return watermark.map { commitTime > $0 } ?? false ? .contradiction : .drop
        }
        mark = next
        watermark = max(watermark ?? commitTime, commitTime)
        return .write
    }
}
