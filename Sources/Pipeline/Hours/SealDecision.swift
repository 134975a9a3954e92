package import Kafka

/// When an hour of a topic may be sealed: decisions without a server or a clock.
package enum SealDecision {
    /// How far a worker has come with a partition.
    package struct Reach: Equatable, Sendable {
        /// Every record before this offset was read.
        package var readTo: Int64
        /// The earliest hour of which records are in no object yet; nil where there are none.
        package var held: SourceHour?

        package init(readTo: Int64, held: SourceHour?) {
            self.readTo = readTo
            self.held = held
        }
    }

    /// The last hour that has passed at `clock`, and a while ago: commits may be told of a moment late.
    /// - Parameters:
    ///   - clock: the source's, of which all is in Kafka, microseconds since 1970.
    ///   - grace: microseconds that an hour is left open past its end.
    package static func passed(clock: Int64, grace: Int64) -> SourceHour {
        SourceHour(SourceHour(ofMicroseconds: clock &- grace).number - 1)
    }

    /// Whether every record of `hour`, and of the hours before, that lies before the ends of the log is in an object.
    /// - Parameters:
    ///   - ends: the first offset of each partition's log, and its end with what is not committed: taken after the source's clock
    ///     was known to have passed the hour. Not the last stable offset: the markers of the transaction that said so may be
    ///     written a moment after its position can be read.
    ///   - reach: of the partitions that this worker has.
    ///   - committed: how far other workers say that theirs are in the store; one of which nobody says it is left out.
    package static func isComplete(
        _ hour: SourceHour, ends: [TopicPartition: (low: Int64, high: Int64)], reach: [TopicPartition: Reach],
        committed: [TopicPartition: Int64]
    ) -> Bool {
        // Of a topic without partitions nothing is known.
        !ends.isEmpty
            && ends.allSatisfy { partition, end in
                let reach = reach[partition]
                // What is held may be all that is left of a log that retention has emptied.
                let isPut = reach?.held.map { $0 > hour } ?? true
                if let reach { return isPut && (end.high <= end.low || reach.readTo >= end.high) }
                // Who reads it says so also of a log that retention has emptied: what was in it may still be held.
                return committed[partition, default: 0] >= end.high
            }
    }
}
