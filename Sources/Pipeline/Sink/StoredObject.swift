package import ChangeData
import ObjectStorage

/// What the metadata of an object says of its records (`x-amz-meta-sluice-...`, design, section 2).
///
/// Beyond the design's keys: `dropped` (records of the range that were written before), `mark` and `watermark` (what the next
/// worker must know to go on: the highest record written and the latest commit time), `gap` (a range before this object that
/// somebody has given up).
package struct StoredObject: Equatable, Sendable {
    /// Offsets of the first and the last record, inclusive.
    package var start: Int64
    package var end: Int64
    /// Lines of the object, and records that are no line.
    package var records: Int
    package var tombstones: Int
    package var dropped: Int
    /// What `sluice.pos` says of the record at `start`, and of the one at `end`.
    package var firstPosition: RecordPosition
    package var lastPosition: RecordPosition
    package var mark: RecordMark?
    package var watermark: Int64?
    /// Of the uncompressed bytes, in hexadecimal.
    package var sha256: String
    package var gap: String?

    package init(
        start: Int64, end: Int64, records: Int, tombstones: Int, dropped: Int, firstPosition: RecordPosition,
        lastPosition: RecordPosition, mark: RecordMark?, watermark: Int64?, sha256: String, gap: String? = nil
    ) {
        self.start = start
        self.end = end
        self.records = records
        self.tombstones = tombstones
        self.dropped = dropped
        self.firstPosition = firstPosition
        self.lastPosition = lastPosition
        self.mark = mark
        self.watermark = watermark
        self.sha256 = sha256
        self.gap = gap
    }

    /// The deduplicator of what follows.
    package var deduplicator: Deduplicator { Deduplicator(mark: mark, watermark: watermark) }

    /// Names without `x-amz-meta-`.
    package var metadata: [(String, String)] {
        var fields = [
            ("sluice-start", "\(start)"), ("sluice-end", "\(end)"), ("sluice-records", "\(records)"),
            ("sluice-tombstones", "\(tombstones)"), ("sluice-dropped", "\(dropped)"),
            ("sluice-first-pos", firstPosition.text), ("sluice-last-pos", lastPosition.text),
            ("sluice-sha256", sha256),
        ]
        if let mark { fields.append(("sluice-mark", mark.text)) }
        if let watermark { fields.append(("sluice-watermark", "\(watermark)")) }
        if let gap { fields.append(("sluice-gap", gap)) }
        return fields
    }

    /// Reads an object's metadata; nil where it is not one of ours.
    package init?(metadata: [String: String]) {
        func number<T: FixedWidthInteger>(_ name: String) -> T? { metadata["sluice-\(name)"].flatMap { T($0) } }
        guard let start: Int64 = number("start"), let end: Int64 = number("end"), start >= 0, start <= end,
            end < Int64.max,
            let records: Int = number("records"), let tombstones: Int = number("tombstones"), records >= 0,
            tombstones >= 0,
            let first = metadata["sluice-first-pos"].flatMap(RecordPosition.init(text:)),
            let last = metadata["sluice-last-pos"].flatMap(RecordPosition.init(text:)),
            let sha256 = metadata["sluice-sha256"]
        else { return nil }
        let dropped: Int = number("dropped") ?? 0
        // Sums of many are made of them: no object is as large as that.
        let most = end - start + 1
        guard dropped >= 0, most < 1 << 40, records <= most, tombstones <= Int(most) - records,
            dropped <= Int(most) - records - tombstones
        else { return nil }
        self.init(
            start: start, end: end, records: records, tombstones: tombstones, dropped: dropped,
            firstPosition: first, lastPosition: last,
            mark: metadata["sluice-mark"].flatMap(RecordMark.init(text:)), watermark: number("watermark"),
            sha256: sha256, gap: metadata["sluice-gap"])
    }
}

extension StorageError {
    /// Of an object that lies where ours do, and says nothing of its records.
    static func noMetadata(_ key: String) -> StorageError {
        StorageError(
            .fatal, "head", key: key, "the object has no metadata of sluice",
            hint:
                "it is another program's, or a copy that has lost its metadata: put it back as it was (with x-amz-meta-sluice-..., or its "
                + ".meta file), take it away, or begin a new prefix in s3.url")
    }
}

extension RecordPosition {
    /// As in the header `sluice.pos`.
    package var text: String {
        "\(position.epoch)/\(position.commitLSN)/\(position.ordinal)/\(commitTime)"
    }

    package init?(text: String) {
        let bytes = Array(text.utf8)
        self.init(parsing: bytes.span)
    }
}

extension RecordMark {
    /// `<epoch>/<commit LSN>/<ordinal>/<rank>`
    package var text: String { "\(position.epoch)/\(position.commitLSN)/\(position.ordinal)/\(rank)" }

    package init?(text: String) {
        guard let read = RecordPosition(text: text), let rank = UInt8(exactly: read.commitTime) else { return nil }
        self.init(read.position, rank: rank)
    }
}
