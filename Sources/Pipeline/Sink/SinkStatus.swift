package import ChangeData
package import Kafka

/// What the sink shows of itself.
package struct SinkStatus: Sendable {
    package struct Partition: Sendable, Equatable {
        package var partition: TopicPartition
        /// The offset after the last one that is in an object.
        package var nextOffset: Int64
        /// The end of the log as last seen; nil before a fetch.
        package var endOffset: Int64?
        /// Bytes of lines in the object that still grows.
        package var openBytes: Int
        /// Its hour, in hours since 1970.
        package var hour: Int64?
        /// Commit time of the oldest record that is not yet in an object, and of the latest that was seen: microseconds since 1970.
        package var oldest: Int64?
        package var watermark: Int64?
        /// Commit LSN of the last record that is in an object; nil before the first.
        package var writtenLSN: LSN?
        /// Whether records wait that are in no object.
        package var isBehind: Bool { oldest != nil }
    }

    package struct Topic: Sendable, Equatable {
        package var objects: UInt64 = 0
        /// Bytes as stored.
        package var bytes: UInt64 = 0
        package var records: UInt64 = 0
        package var tombstones: UInt64 = 0
        /// The end of the last hour that a manifest seals, microseconds since 1970.
        package var sealedUntil: Int64?
    }

    /// The partitions of this worker.
    package var partitions: [Partition] = []
    package var topics: [String: Topic] = [:]
    package var dropped: UInt64 = 0
    /// Calls to the store that failed and were made again.
    package var retries: UInt64 = 0
    /// Objects that another worker had written first.
    package var followed: UInt64 = 0
    /// Times that the disk was full.
    package var spoolFailures: UInt64 = 0
    package var spoolBytes = 0
    package var memoryBytes = 0
    /// No records are read, since memory or disk are full.
    package var isPaused = false
    package var sessions: UInt64 = 0

    package init() {}
}
