import ChangeData
import Glibc
import Kafka
import ObjectStorage

/// One partition of this worker: from its last object in the store to the next ones. The consumer's thread owns it.
///
///     resolving --(last object known)--> seeking --(consumer is there)--> reading
///                                           ^                                |
///                                           '--- another worker's object, ---'
///                                                or a disk that is full
final class PartitionWriter {
    enum Phase: Equatable {
        case resolving
        /// The consumer is to go there; what it shows before is not taken.
        case seeking(Int64)
        case reading
    }

    let partition: TopicPartition
    let context: SinkContext
    private(set) var phase = Phase.resolving
    /// When the consumer may be taken there, monotonic nanoseconds.
    var seeksFrom: Int64 = 0
    /// Answers to questions of an older generation are not taken.
    private(set) var generation: Int
    private(set) var open: Segment?
    /// Complete, in the order of their offsets; of these the first is being put.
    private(set) var waiting: [Segment] = []
    /// The last object that is in the store, with the deduplicator after it.
    private(set) var last: (object: ResumeDecision.Last, after: Deduplicator)?
    private(set) var pinID = ""
    /// The group's offset, and the object that is named beside it.
    private var committed: (offset: Int64, key: String?)?
    /// The end of the log, where the consumer has met it.
    private(set) var endSeen: Int64?
    /// Whether nothing was taken since.
    private var isAtEnd = false

    private var deduplicator = Deduplicator()
    /// The next record must be the last one of the object before.
    private var continuity: (offset: Int64, position: RecordPosition)?
    /// Whether it is known that no other object begins where the first one of ours does.
    private var hasLooked = false
    private var gap: String?
    /// When a record was taken last, monotonic nanoseconds.
    private var takenAt: Int64 = 0
    /// After so long without a record the last one is looked for again, nanoseconds: a topic that was deleted and made again has shown
    /// nothing meanwhile.
    private static let quiet: Int64 = .seconds(1)
    /// Below it nothing is missing in the store: it never goes back, as the log may begin there soon.
    private var seen: Int64 = 0

    init(_ partition: TopicPartition, _ context: SinkContext, committed: Int64?, note: OffsetNote?) {
        self.partition = partition
        self.context = context
        self.committed = committed.map { ($0, note?.store == context.storeID ? note?.last?.key : nil) }
        generation = context.nextGeneration()
        takenAt = context.now
    }

    /// Commit time of the oldest record that is in no object.
    var oldest: Int64? { (waiting.first ?? open)?.facts.oldest }
    /// The earliest hour of which records are in no object.
    var earliestHour: SourceHour? { (waiting + [open].compactMap(\.self)).map(\.hour).min() }
    var watermark: Int64? { deduplicator.watermark }
    /// Nothing before this offset is missing in the store.
    var position: Int64 { offset?.offset ?? committed?.offset ?? 0 }

    // MARK: Where to read

    /// The last object is known.
    func resume(_ resume: ResumeDecision.Resume, pin: String) {
        pinID = pin
        deduplicator = resume.deduplicator
        last = resume.last.map { ($0, resume.deduplicator) }
        continuity = resume.continuity.map { (resume.offset, $0) }
        gap = resume.gap.map { "\($0.lowerBound)-\($0.upperBound)" }
        seen = resume.seen
        hasLooked = false
        phase = .seeking(resume.offset)
    }

    /// The consumer is where it should be.
    func sought() {
        phase = .reading
        takenAt = context.now
    }

    // MARK: Whether it is the same log

    /// Whether the next record has to be one that is known already.
    var isChecking: Bool { continuity != nil }

    /// Where to go on once that is known; nil where it was asked at the assignment.
    private(set) var nextAfterCheck: Int64?
    /// The offset of the record that was looked for last: once is enough, however long the one behind it takes to come.
    private var checked: Int64 = -1

    /// Reads on with the record that was read last, which has to be the same one. Kafka does not say that a topic was deleted and made
    /// again: the consumer goes on at the old offset of the new log, and what lies before it would be in no object.
    /// - Parameter next: the offset that would be read now.
    func checkAgain(before next: Int64) {
        guard phase == .reading, continuity == nil else { return }
        let known =
            [open, waiting.last].compactMap(\.self).first.map { ($0.facts.end, $0.facts.lastPosition) }
            ?? last.map { ($0.object.end, $0.object.lastPosition) }
        guard let known, known.0 < next, known.0 != checked else { return }
        continuity = known
        nextAfterCheck = next
        phase = .seeking(known.0)
    }

    /// The log does not hold that record any more, but still all that is to be read.
    func skipCheck(to next: Int64) {
        checked = continuity?.offset ?? checked
        continuity = nil
        nextAfterCheck = nil
        phase = .seeking(next)
    }

    /// The consumer has met the end of the log.
    func reachedEnd(_ offset: Int64) {
        endSeen = offset
        isAtEnd = true
    }

    /// Drops what is not in the store, and goes on elsewhere.
    private func restart(at offset: Int64, _ deduplicator: Deduplicator) {
        context.queue.cancel(partition)
        open?.giveBack(context.pool)
        open = nil
        waiting = []
        generation = context.nextGeneration()
        self.deduplicator = deduplicator
        endSeen = nil
        continuity = nil
        nextAfterCheck = nil
        phase = .seeking(offset)
    }

    /// Another worker's object is there: goes on after its end.
    func follow(_ object: StoredObject, key: String) {
        let end = ResumeDecision.Last(key: key, end: object.end, lastPosition: object.lastPosition)
        restart(at: object.end + 1, object.deduplicator)
        last = (end, object.deduplicator)
        // It may be followed by others of that worker.
        hasLooked = false
    }

    /// The disk is full: reads the records of an object again, into smaller ones.
    ///
    /// Where the object is the open one, the complete ones before it stay: they wait for the store, and nothing would read
    /// their records again.
    func rewind(to segment: Segment, _ error: StorageError) {
        context.spoolFailed(at: max(segment.spoolBytes, segment.facts.bytes / 8), error)
        gap = segment.gap
        guard segment === open else { return restart(at: segment.start, segment.before) }
        continuity = nil
        nextAfterCheck = nil
        segment.giveBack(context.pool)
        open = nil
        deduplicator = segment.before
        endSeen = nil
        phase = .seeking(segment.start)
    }

    // MARK: Records

    /// Takes the next record. The hot path: no allocation, one look at each header.
    func take(_ record: borrowing ConsumedRecord) throws(SinkFailure) {
        guard phase == .reading else { return }
        isAtEnd = false
        let offset = record.offset
        if context.now &- takenAt > Self.quiet {
            checkAgain(before: offset)
            guard phase == .reading else { return }
        }
        takenAt = context.now
        guard let header = record.header("sluice.pos"), let at = RecordPosition(parsing: header) else {
            throw .record(
                partition, offset, "it has no header sluice.pos, so sluice did not write it",
                hint:
                    "take whatever else writes to topic \(partition.topic) away, or leave the topic out of postgres.tables"
            )
        }
        if let expected = continuity { return try check(expected, offset, at) }
        let value = record.value
        // Objects that need a disk are not made while there is none.
        if let value, let open, open.facts.bytes > 0, open.isFull(adding: value.count),
            context.limit.bytes <= SegmentLimit.least
        {
            try end(.pressure, after: nil)
            // Where its rest did not fit on the disk either, this record is read again with the others.
            guard phase == .reading else { return }
        }
        var kind = value == nil ? Segment.Kind.tombstone : .line
        if record.header("sluice.replay") == nil {
            let rank: UInt8 = value == nil ? 1 : record.header("__debezium.oldkey") == nil ? 0 : 2
            let before = deduplicator
            switch deduplicator.take(RecordMark(at.position, rank: rank), commitTime: at.commitTime) {
            case .write: break
            case .drop:
                kind = .dropped
                context.drops(partition, offset, at.text)
            case .contradiction: throw contradiction(offset, at)
            }
            try place(offset, at, before: before, isDropped: kind == .dropped)
        } else {
            try place(offset, at, before: deduplicator, isDropped: false)
        }
        // Unless the end of the object before has found the disk full.
        guard phase == .reading, let open else { return }
        guard kind == .line, let value else { return open.cover(offset, at: at, as: kind, bytes: 0) }
        try check(value, offset)
        do throws(StorageError) {
            if value.count >= Segment.largeLine, context.limit.bytes > SegmentLimit.least, context.hasFile(for: open) {
                try open.appendLarge(value, context.pool, in: context.settings.spoolDirectory)
            } else {
                if open.isFull(adding: value.count), context.hasFile(for: open) {
                    try open.flush(context.pool, in: context.settings.spoolDirectory)
                }
                open.append(value)
            }
        } catch { return try failed(open, error) }
        open.cover(offset, at: at, as: .line, bytes: value.count + 1)
    }

    /// Opens an object for a record, where the one that is open is of another hour or epoch.
    private func place(
        _ offset: Int64, _ at: RecordPosition, before: Deduplicator, isDropped: Bool
    ) throws(SinkFailure) {
        if let open {
            // A dropped record is no line, so its hour is of no matter.
            if isDropped { return }
            let epoch = open.firstPosition.position.epoch
            guard let reason = context.settings.segments.refusal(of: at, into: open.hour, of: epoch) else { return }
            try end(reason, after: before)
        }
        guard phase == .reading else { return }
        do throws(StorageError) {
            let segment = try Segment(
                partition: partition, first: offset, at: at, before: before, gap: gap,
                compression: context.settings.compression, now: context.now)
            gap = nil
            open = segment
            if !hasLooked {
                hasLooked = true
                context.queue.push(.look(partition, key: segment.key, generation: generation))
            }
        } catch { throw .store(error, context.settings.storeName) }
    }

    private func check(
        _ expected: (offset: Int64, position: RecordPosition), _ offset: Int64, _ at: RecordPosition
    ) throws(SinkFailure) {
        continuity = nil
        // The log may have been cut since its first offset was asked for: that shows at the next assignment.
        if offset > expected.offset, context.memory.isFirstMiss(of: partition) {
            throw .retry(
                component: "kafka", reason: "the record at offset \(expected.offset) of \(partition) is not shown")
        }
        guard offset == expected.offset, at == expected.position else {
            throw .anotherLog(
                partition, expected.offset, found: offset == expected.offset ? at.text : "none",
                stored: expected.position.text)
        }
        context.memory.isFound(in: partition)
        checked = expected.offset
        nextAfterCheck = nil
    }

    private func check(_ value: Span<UInt8>, _ offset: Int64) throws(SinkFailure) {
        // SAFETY: the pointer is used within the call alone.
        let breaksLine = unsafe value.withUnsafeBytes { bytes in
            unsafe bytes.baseAddress.map { unsafe memchr($0, 0x0A, bytes.count) != nil } ?? false
        }
        guard value.isEmpty || breaksLine else { return }
        throw .record(
            partition, offset, value.isEmpty ? "its value is empty" : "its value holds a line feed",
            hint: "one record is one line of an object; sluice writes no such value: who has written this one?")
    }

    private func contradiction(_ offset: Int64, _ at: RecordPosition) -> SinkFailure {
        .exit(
            AgentExit(
                .gap,
                "the record at offset \(offset) of \(partition) is newer than the last one written, but its position is not",
                details: [
                    "its position: \(at.text)", "the last one written: \(deduplicator.mark?.text ?? "none")",
                    "the stream was set up anew without a new epoch: its records cannot be told from repeated ones",
                ],
                hints: [
                    "begin a new prefix in s3.url, or give the stream another name",
                    "to set a stream up anew: sluice init --accept-gap, which raises the epoch",
                ]))
    }

    private func failed(_ segment: Segment, _ error: StorageError) throws(SinkFailure) {
        guard error.operation == "spool" else { throw .store(error, context.settings.storeName) }
        rewind(to: segment, error)
    }

    // MARK: Objects

    /// Ends the open object, if its time has come.
    /// - Parameter passed: the last hour that is over by the source's clock.
    func endIfDue(passed: SourceHour?) throws(SinkFailure) {
        guard let open else { return }
        // Not of hours that are caught up with: the next hour's first record ends those.
        if let passed, open.hour <= passed, isAtEnd, waiting.isEmpty { return try end(.hour, after: nil) }
        let reason = context.settings.segments.ended(
            stored: open.stored(context.ratio), limit: context.limit.bytes, openedAt: open.openedAt, now: context.now,
            isWaiting: !waiting.isEmpty)
        if let reason { try end(reason, after: nil) }
    }

    /// Ends the open object.
    /// - Parameter after: the deduplicator after its last record; nil is the present one.
    func end(_ reason: SegmentPolicy.Reason, after: Deduplicator?) throws(SinkFailure) {
        guard let segment = open else { return }
        do throws(StorageError) {
            try segment.seal(after: after ?? deduplicator, context.pool)
        } catch { return try failed(segment, error) }
        open = nil
        waiting.append(segment)
        context.services.log.debug(
            "an object is complete",
            [
                "object": .init(segment.key), "end": .init(segment.facts.end), "why": .init(reason.rawValue),
                "records": .init(segment.facts.records),
            ])
        if waiting.count == 1 { context.queue.push(.put(segment, generation: generation)) }
    }

    /// Moves what is in memory to disk.
    func spill() throws(SinkFailure) {
        guard let open else { return }
        do throws(StorageError) {
            try open.flush(context.pool, in: context.settings.spoolDirectory)
        } catch { try failed(open, error) }
    }

    /// The first waiting object is in the store.
    func stored(_ segment: Segment) {
        guard let object = segment.object, waiting.first === segment else { return }
        waiting.removeFirst()
        last = (
            ResumeDecision.Last(key: segment.key, end: object.end, lastPosition: object.lastPosition),
            object.deduplicator
        )
        if let next = waiting.first { context.queue.push(.put(next, generation: generation)) }
    }

    /// Gives up what is not in the store: another worker has the partition.
    func abandon() {
        restart(at: 0, Deduplicator())
        seen = 0
        phase = .resolving
    }

    // MARK: The group's offset

    /// What the group should know: the last object, and that nothing of ours lies between it and the offset, which is where the
    /// next one begins, or the end of the log where there is none: transaction markers lie behind the last record, and the log
    /// may soon begin behind them.
    var offset: PartitionOffset? {
        guard phase != .resolving else { return nil }
        // An offset that was set by hand accepts a loss, until an object has it on record.
        guard gap == nil, waiting.first?.gap == nil, open?.gap == nil else { return nil }
        var next = max(seen, last.map { $0.object.end + 1 } ?? 0)
        if phase == .reading, continuity == nil, let begin = (waiting.first ?? open)?.start ?? endSeen {
            next = max(next, begin)
        }
        guard next > 0 else { return nil }
        // What held no record is read again after a start: until then the group knows more.
        if last == nil, let committed, next < committed.offset { return nil }
        if let committed, committed.offset == next, committed.key == last?.object.key { return nil }
        let note = OffsetNote(
            last: last?.object, mark: last?.after.mark, watermark: last?.after.watermark, pin: pinID,
            store: context.storeID)
        return PartitionOffset(partition, offset: next, metadata: note.json)
    }

    /// The group has taken the offset.
    func committed(_ offset: Int64, key: String?) {
        committed = (offset, key)
        seen = max(seen, offset)
    }
}
