/// What a poll of a reader may say besides records.
public enum ReaderEvent: Sendable, Hashable {
    /// The group gives these partitions: choose offsets and call `assign(at:)`. Nothing is read before.
    case assigned([TopicPartition])
    /// The group takes these back: finish, commit, and call `acknowledgeRevocation()`. Others wait for it.
    case revoked([TopicPartition])
    /// They are gone already, and another member may own them: commit nothing; call `acknowledgeRevocation()`.
    case lost([TopicPartition])
    /// The reader has seen all that is committed of a partition, up to but not including `offset`: the last stable offset,
    /// where an open transaction holds it, else the end.
    case partitionEnd(TopicPartition, offset: Int64)
    /// Reading has failed; with reason `.offsetOutOfRange` the offset is not (or no longer) in the log, and the partition
    /// stands still until it is assigned elsewhere. Retriable errors are informational.
    case error(KafkaError, TopicPartition?)
}

/// The ends of a partition at one time.
public struct PartitionBounds: Sendable, Hashable {
    /// The first offset in the log.
    public let low: Int64
    /// One past the last record that `read_committed` shows: the start of the oldest open transaction, or `high`.
    public let lastStable: Int64
    /// One past the last record, committed or not.
    public let high: Int64
    /// Whether a transaction was open on it.
    public var hasOpenTransaction: Bool { lastStable < high }
}
