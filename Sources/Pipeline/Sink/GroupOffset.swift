import Kafka

/// What the consumer group knows of a partition, and what it is to be told.
///
/// That is: the last object, and that nothing of ours lies between it and the offset, which is where the next one begins, or the end of the log
/// where there is none: transaction markers lie behind the last record, and the log may soon begin behind them.
struct GroupOffset {
    private let partition: TopicPartition
    /// A digest of where the store is.
    private let store: String
    /// The identifier of the topic's pin in the store.
    private var pin = ""
    /// The group's offset, and the object that is named beside it.
    private var known: (offset: Int64, key: String?)?
    /// Below it nothing is missing in the store: it never goes back, as the log may begin there soon.
    private var seen: Int64 = 0

    /// - Parameters:
    ///   - known: the group's offset when the partition was given to us; nil where it has none.
    ///   - note: the text beside it.
    init(_ partition: TopicPartition, known: Int64?, note: OffsetNote?, store: String) {
        self.partition = partition
        self.store = store
        self.known = known.map { ($0, note?.store == store ? note?.last?.key : nil) }
    }

    /// The last object is known.
    mutating func resume(from seen: Int64, pin: String) {
        self.seen = seen
        self.pin = pin
    }

    /// Another worker has the partition.
    mutating func abandon() { seen = 0 }

    /// The group has taken the offset.
    mutating func committed(_ offset: Int64, key: String?) {
        known = (offset, key)
        seen = max(seen, offset)
    }

    /// The group's offset.
    var committed: Int64? { known?.offset }

    /// What the group should know and does not.
    /// - Parameters:
    ///   - last: the last object in the store, with the deduplicator after it.
    ///   - begin: where the next object begins, or the end of the log was met; nil where neither is known.
    func next(after last: (object: ResumeDecision.Last, after: Deduplicator)?, begin: Int64?) -> PartitionOffset? {
        var next = max(seen, last.map { $0.object.end + 1 } ?? 0)
        if let begin { next = max(next, begin) }
        guard next > 0 else { return nil }
        // What held no record is read again after a start: until then the group knows more.
        if last == nil, let known, next < known.offset { return nil }
        if let known, known.offset == next, known.key == last?.object.key { return nil }
        let note = OffsetNote(
            last: last?.object, mark: last?.after.mark, watermark: last?.after.watermark, pin: pin, store: store)
        return PartitionOffset(partition, offset: next, metadata: note.json)
    }
}
