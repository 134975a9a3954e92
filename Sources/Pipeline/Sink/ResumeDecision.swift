package import ChangeData

/// Where a partition is read on after it was assigned (design, section 3): after its last object in the store, never at the
/// group's offset alone.
///
/// The last object is the one that the committed offset names, and only without such a name the last of a listing. Objects that
/// were put after that commit need not be looked for: they begin where we go on, and are met there.
package enum ResumeDecision: Equatable, Sendable {
    case resume(Resume)
    /// Records that are not in the store are no longer in the log, or the log is another one.
    case refuse(Refusal)

    package struct Resume: Equatable, Sendable {
        /// The offset to read next.
        package var offset: Int64
        /// Everything below it is in the store, or was given up, or is no record.
        package var seen: Int64 = 0
        package var deduplicator = Deduplicator()
        /// The record at `offset` must be the last one of the object before: else this is another log.
        package var continuity: RecordPosition?
        /// The last object's key and end.
        package var last: Last?
        /// A range that somebody has given up.
        package var gap: ClosedRange<Int64>?
        /// The object that the group's offset names is gone.
        package var isTrusted = false

        package init(offset: Int64, seen: Int64 = 0) {
            self.offset = offset
            self.seen = seen
        }
    }

    package struct Last: Equatable, Sendable {
        package var key: String
        package var end: Int64
        package var lastPosition: RecordPosition

        package init(key: String, end: Int64, lastPosition: RecordPosition) {
            self.key = key
            self.end = end
            self.lastPosition = lastPosition
        }
    }

    package enum Refusal: Equatable, Sendable {
        /// Offsets that the log no longer holds.
        case lost(ClosedRange<Int64>)
        /// The log ends below what the store holds.
        case shorter(end: Int64, stored: Int64)
    }

    /// What is known of a partition.
    package struct Facts: Equatable, Sendable {
        /// The group's offset, and what stands beside it.
        package var committed: Int64?
        package var note: OffsetNote?
        /// Whether the note's pin is the store's, and whether its store is the configured one.
        package var samePin = false
        package var sameStore = false
        /// The object that the note names, or the last one listed.
        package var key: String?
        package var object: StoredObject?
        /// The log's first offset, and its end.
        package var low: Int64
        package var high: Int64

        package init(low: Int64, high: Int64) {
            self.low = low
            self.high = high
        }
    }

    package static func judge(_ facts: Facts) -> ResumeDecision {
        var resume = Resume(offset: 0)
        var next: Int64 = 0
        // With a committed offset that names our last object, everything below it was seen: what lies between are control
        // records. Without, the log's first offset may be past those, and then nobody knows what was there.
        var seen: Int64?
        if let object = facts.object, let key = facts.key {
            next = object.end + 1
            resume.deduplicator = object.deduplicator
            resume.last = Last(key: key, end: object.end, lastPosition: object.lastPosition)
            if facts.note?.last?.key == key, facts.samePin || facts.sameStore { seen = facts.committed }
        } else if let note = facts.note, facts.sameStore, facts.samePin || facts.low > note.last?.end ?? 0 {
            // Stores remove old objects by rule, and a quiet table's last one is old. Where the pin is gone with it, the note
            // is believed only if the log cannot give the records again.
            next = note.last.map { $0.end + 1 } ?? 0
            resume.deduplicator = Deduplicator(mark: note.mark, watermark: note.watermark)
            resume.last = note.last
            resume.isTrusted = note.last != nil
            // Where no record was, none is lost by reading it once more; a topic that was made again shows what it has there.
            seen = note.last == nil ? facts.committed.map { min($0, max(facts.low, 0)) } : facts.committed
        }
        if facts.high < next { return .refuse(.shorter(end: facts.high, stored: next)) }
        resume.offset = max(next, seen ?? 0)
        // Accepted before, and in no object yet.
        if seen != nil, let gap = facts.note?.gap, gap.lowerBound >= next, gap.upperBound < resume.offset {
            resume.gap = gap
        }
        if facts.low > resume.offset {
            let lost = resume.offset...(facts.low - 1)
            // An offset without our text beside it may have been set by hand: that is how a loss is accepted. Exactly the one that the
            // refusal names: any other may be what a stranger in the group has read, or of before the log was cut further.
            guard facts.note == nil, facts.committed == facts.low else { return .refuse(.lost(lost)) }
            resume.gap = lost
            resume.offset = facts.low
        }
        resume.seen = resume.offset
        if let last = resume.last, facts.low <= last.end {
            resume.offset = last.end
            resume.continuity = last.lastPosition
        }
        return .resume(resume)
    }
}
