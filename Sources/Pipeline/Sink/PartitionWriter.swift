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
    private(set) var open: Segment?
    /// The objects before the open one.
    private(set) var puts: PutOrder
    /// The end of the log, where the consumer has met it.
    private(set) var endSeen: Int64?
    /// Whether nothing was taken since.
    private var isAtEnd = false
    private var deduplicator = Deduplicator()
    /// Whether it is the same log.
    private(set) var continuity: LogContinuity
    private var group: GroupOffset
    /// Whether it is known that no other object begins where the first one of ours does.
    private var hasLooked = false
    private var gap: ClosedRange<Int64>?

    init(_ partition: TopicPartition, _ context: SinkContext, committed: Int64?, note: OffsetNote?) {
        self.partition = partition
        self.context = context
        group = GroupOffset(partition, known: committed, note: note, store: context.storeID)
        continuity = LogContinuity(now: context.now)
        puts = PutOrder(partition, context.queue, generation: context.nextGeneration())
    }

    /// Commit time of the oldest record that is in no object.
    var oldest: Int64? { (puts.waiting.first ?? open)?.facts.oldest }
    /// The earliest hour of which records are in no object.
    var earliestHour: SourceHour? { (puts.waiting + [open].compactMap(\.self)).map(\.hour).min() }
    var watermark: Int64? { deduplicator.watermark }
    /// Nothing before this offset is missing in the store.
    var position: Int64 { offset?.offset ?? group.committed ?? 0 }

    // MARK: Where to read

    /// The last object is known.
    func resume(_ resume: ResumeDecision.Resume, pin: String) {
        group.resume(from: resume.seen, pin: pin)
        deduplicator = resume.deduplicator
        puts.begin(after: resume.last.map { ($0, resume.deduplicator) })
        continuity.begin(with: resume.continuity.map { .init(offset: resume.offset, position: $0) })
        gap = resume.gap
        hasLooked = false
        phase = .seeking(resume.offset)
    }

    /// The consumer is where it should be.
    func sought() {
        phase = .reading
        continuity.read(now: context.now)
    }

    /// Reads on with the record that was read last, which has to be the same one, instead of with `next`.
    func checkAgain(before next: Int64, vanished: Bool = false) {
        guard phase == .reading else { return }
        let known = (open ?? puts.waiting.last)?.landmark ?? puts.last?.object.landmark
        let offset = continuity.look(for: known, before: next, now: context.now, vanished: vanished)
        if let offset { phase = .seeking(offset) }
    }

    /// The log does not hold that record any more, but still all that is to be read.
    func skipCheck(to next: Int64) {
        continuity.skip()
        phase = .seeking(next)
    }

    /// The consumer has met the end of the log.
    func reachedEnd(_ offset: Int64) {
        endSeen = offset
        isAtEnd = true
    }

    /// Drops what is not in the store, or of that the open object alone, and goes on elsewhere.
    private func restart(at offset: Int64, _ deduplicator: Deduplicator, openAlone: Bool = false) {
        if !openAlone { puts.drop(next: context.nextGeneration()) }
        open?.giveBack(context.pool)
        open = nil
        self.deduplicator = deduplicator
        endSeen = nil
        continuity.drop()
        phase = .seeking(offset)
    }

    /// Another worker's object is there: goes on after its end.
    func follow(_ object: StoredObject, key: String) {
        let end = ResumeDecision.Last(key: key, end: object.end, lastPosition: object.lastPosition)
        restart(at: object.end + 1, object.deduplicator)
        puts.begin(after: (end, object.deduplicator))
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
        restart(at: segment.start, segment.before, openAlone: segment === open)
    }

    // MARK: Records

    /// Takes the next record. The hot path: no allocation, one look at each header.
    func take(_ record: borrowing ConsumedRecord) throws(SinkFailure) {
        guard phase == .reading else { return }
        isAtEnd = false
        let offset = record.offset
        if continuity.isDue(now: context.now) {
            checkAgain(before: offset)
            guard phase == .reading else { return }
        }
        continuity.read(now: context.now)
        guard let header = record.header("sluice.pos"), let at = RecordPosition(parsing: header) else {
            throw .foreign(partition, offset)
        }
        if let expected = continuity.expected { return try check(expected, offset, at) }
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
            case .contradiction: throw .contradiction(partition, offset, at, last: deduplicator.mark)
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
                puts.look(at: segment)
            }
        } catch { throw .store(error, context.settings.storeName) }
    }

    private func check(
        _ expected: LogContinuity.Landmark, _ offset: Int64, _ at: RecordPosition
    ) throws(SinkFailure) {
        switch continuity.meet(.init(offset: offset, position: at)) {
        case .same: context.memory.isFound(in: partition)
        // The log may have been cut since its first offset was asked for: that shows at the next assignment.
        case .later where context.memory.isFirstMiss(of: partition):
            throw .retry(
                component: "kafka", reason: "the record at offset \(expected.offset) of \(partition) is not shown")
        case .later, .another:
            throw .anotherLog(
                partition, expected.offset, found: offset == expected.offset ? at.text : "none",
                stored: expected.position.text)
        }
    }

    private func check(_ value: Span<UInt8>, _ offset: Int64) throws(SinkFailure) {
        // SAFETY: the pointer is used within the call alone.
        let breaksLine = unsafe value.withUnsafeBytes { bytes in
            unsafe bytes.baseAddress.map { unsafe memchr($0, 0x0A, bytes.count) != nil } ?? false
        }
        if value.isEmpty || breaksLine { throw .noLine(partition, offset, isEmpty: value.isEmpty) }
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
        if let passed, open.hour <= passed, isAtEnd, puts.waiting.isEmpty { return try end(.hour, after: nil) }
        let reason = context.settings.segments.ended(
            stored: open.stored(context.ratio), limit: context.limit.bytes, openedAt: open.openedAt, now: context.now,
            isWaiting: !puts.waiting.isEmpty)
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
        context.services.log.debug(
            "an object is complete",
            [
                "object": .init(segment.key), "end": .init(segment.facts.end), "why": .init(reason.rawValue),
                "records": .init(segment.facts.records),
            ])
        puts.add(segment)
    }

    /// Moves what is in memory to disk.
    func spill() throws(SinkFailure) {
        guard let open else { return }
        do throws(StorageError) {
            try open.flush(context.pool, in: context.settings.spoolDirectory)
        } catch { try failed(open, error) }
    }

    /// The first waiting object is in the store.
    func stored(_ segment: Segment) { puts.stored(segment) }

    /// Gives up what is not in the store: another worker has the partition.
    func abandon() {
        restart(at: 0, Deduplicator())
        group.abandon()
        phase = .resolving
    }

    /// What the group should know and does not.
    var offset: PartitionOffset? {
        guard phase != .resolving else { return nil }
        let isSure = phase == .reading && !continuity.isChecking
        let begin = isSure ? (puts.waiting.first ?? open)?.start ?? endSeen : nil
        return group.next(after: puts.last, gap: unrecordedGap, unsealed: unsealed, begin: begin)
    }

    func committed(_ offset: Int64) {
        group.committed(offset, key: puts.last?.object.key, gap: unrecordedGap, unsealed: unsealed)
    }

    private var unsealed: HourSet { context.unsealed.hours[partition] ?? HourSet() }
    /// A loss that was accepted: told with the offset until an object has it on record.
    private var unrecordedGap: ClosedRange<Int64>? { gap ?? puts.waiting.first?.gap ?? open?.gap }
}
