import Kafka

/// What the consumer group knows of a partition, and what it is to be told.
///
/// That is: the last object, and that nothing of ours lies between it and the offset, which is where the next one begins, or the end of the log
/// where there is none: transaction markers lie behind the last record, and the log may soon begin behind them. Whoever seals hours believes
/// nothing else of a partition that another worker has, so one that is quiet is told of too.
struct GroupOffset {
    private let partition: TopicPartition
    /// A digest of where the store is.
    private let store: String
    /// The identifier of the topic's pin in the store.
    private var pin = ""
    /// The group's offset, and what a worker for this store has said beside it; nil where none has.
    private var known: Known?
    /// Below it nothing is missing in the store: it never goes back, as the log may begin there soon.
    private var seen: Int64 = 0

    private struct Known: Equatable {
        var offset: Int64
        /// Of the last object.
        var key: String?
        var gap: ClosedRange<Int64>?
        var unsealed: HourSet
    }

    /// - Parameters:
    ///   - known: the group's offset when the partition was given to us; nil where it has none.
    ///   - note: the text beside it.
    init(_ partition: TopicPartition, known: Int64?, note: OffsetNote?, store: String) {
        self.partition = partition
        self.store = store
        // An offset that a stranger has committed, or that was set by hand, says nothing to the others.
        if let known, let note, note.store == store {
            self.known = Known(offset: known, key: note.last?.key, gap: note.gap, unsealed: note.unsealed)
        }
    }

    /// The last object is known.
    mutating func resume(from seen: Int64, pin: String) {
        self.seen = seen
        self.pin = pin
    }

    /// Another worker has the partition.
    mutating func abandon() { seen = 0 }

    /// The group has taken the offset.
    mutating func committed(_ offset: Int64, key: String?, gap: ClosedRange<Int64>?, unsealed: HourSet = HourSet()) {
        known = Known(offset: offset, key: key, gap: gap, unsealed: unsealed)
        seen = max(seen, offset)
    }

    /// The group's offset, if it is one of ours.
    var committed: Int64? { known?.offset }

    /// What the group should know and does not.
    /// - Parameters:
    ///   - last: the last object in the store, with the deduplicator after it.
    ///   - gap: what was given up behind that object, and is in none yet.
    ///   - unsealed: hours with an object that may be in no manifest.
    ///   - begin: where the next object begins, or the end of the log was met; nil where neither is known.
    func next(
        after last: (object: ResumeDecision.Last, after: Deduplicator)?, gap: ClosedRange<Int64>? = nil,
        unsealed: HourSet = HourSet(), begin: Int64?
    ) -> PartitionOffset? {
        var next = max(seen, last.map { $0.object.end + 1 } ?? 0)
        if let begin { next = max(next, begin) }
        guard next > 0 else { return nil }
        // What held no record is read again after a start: until then the group knows more.
        if last == nil, let known, next < known.offset { return nil }
        if known == Known(offset: next, key: last?.object.key, gap: gap, unsealed: unsealed) { return nil }
        let note = OffsetNote(
            last: last?.object, mark: last?.after.mark, watermark: last?.after.watermark, gap: gap,
            unsealed: unsealed, pin: pin, store: store)
        return PartitionOffset(partition, offset: next, metadata: note.json)
    }
}
