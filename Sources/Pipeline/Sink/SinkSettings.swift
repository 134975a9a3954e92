package import Kafka
package import ObjectStorage

/// All that the sink needs to know, checked already.
package struct SinkSettings: Sendable {
    /// What to do with a store that does not honour `If-None-Match: *`.
    package enum Conditional: Sendable, Equatable {
        /// Refuse it (69).
        case required
        /// Look whether the object is there, then put it: two workers that own a partition at once could both write.
        case off
    }

    /// The agent's name: the consumer group is named after it.
    package var name: String
    package var kafka: KafkaSettings
    package var topics: TopicSelection
    package var store: StoreLocation
    /// What store this is, for people: `s3://lake/tesouro`. An offset committed for another store is not believed.
    package var storeName: String
    package var compression: Compression
    package var conditional: Conditional
    package var segments: SegmentPolicy
    /// Bytes of memory for records and buffers, the Kafka client's queue included.
    package var memory: Int
    /// Bytes of local disk.
    package var spool: Int
    /// How many files may be open there.
    package var files = 256
    /// An existing directory on a local disk.
    package var spoolDirectory: String
    /// How long a server may be unreachable at start, nanoseconds.
    package var startTimeout: Int64
    /// How long an hour is left open past its end, microseconds of the source's clock (C6).
    package var sealAfter: Int64 = 60_000_000
    /// How many objects are put at a time.
    package var uploads: Int
    /// How long a partition that is taken back may be finished, nanoseconds.
    package var revocationTimeout: Int64

    package init(
        name: String, kafka: KafkaSettings, topics: TopicSelection, store: StoreLocation, storeName: String,
        compression: Compression, conditional: Conditional, segments: SegmentPolicy, memory: Int, spool: Int,
        spoolDirectory: String, startTimeout: Int64, uploads: Int = 4, revocationTimeout: Int64 = .seconds(5)
    ) {
        self.name = name
        self.kafka = kafka
        self.topics = topics
        self.store = store
        self.storeName = storeName
        self.compression = compression
        self.conditional = conditional
        self.segments = segments
        self.memory = memory
        self.spool = spool
        self.spoolDirectory = spoolDirectory
        self.startTimeout = startTimeout
        self.uploads = uploads
        self.revocationTimeout = revocationTimeout
    }

    /// The consumer group: workers of one name share the partitions.
    package var group: String { Self.group(of: name) }
    static func group(of name: String) -> String { "sluice.\(name)" }

    /// Where the stream writes its position, and under which key.
    var progressTopic: String { "sluice.\(name).progress" }
    var progressKey: String { name }

    /// A seventh of the memory is the Kafka client's queue: with a fetch under way, what librdkafka notes of each record, and the
    /// gaps that unpacked batches leave in the heap, it takes about four times that. A fetch is counted as it comes, compressed, and
    /// the queue as it is unpacked, up to ten times as much for records that are alike: so a fetch is small beside the queue.
    var reader: ReaderOptions {
        let queue = max(1 << 20, memory / 7)
        return ReaderOptions(
            queueBytes: queue, fetchBytes: max(1 << 20, queue / 3), partitionFetchBytes: max(256 << 10, queue / 6),
            batchRecords: 1000)
    }

    /// Buffers have up to twice the room that their records take.
    var pressure: PressurePolicy {
        PressurePolicy(memory: max(1 << 20, memory / 6), spool: spool, files: files)
    }

    /// How many compressors may be open at a time: each takes up to 0.7 MiB.
    var packers: Int { compression == .none ? 0 : min(64, max(1, memory / 6 / (700 << 10))) }
}
