import ChangeData

/// The value of the header `sluice.split`: which part of a split transaction a record is in, from 2 (a first part is not
/// yet known to be one).
package struct SplitMark: ~Copyable {
    private var digits = ByteBuffer(capacity: 8)

    init(part: Int) { digits.append(decimal: part) }

    var text: Span<UInt8> {
        @_lifetime(borrow self)
        get { digits.span }
    }

    /// The part that a record is in; 0 where it bears no mark.
    ///
    /// It follows from the record and from what Kafka holds, not from how far the batch has come: a batch that is sent again
    /// holds the rest of a split transaction and whole ones after it.
    /// - Parameter position: the record's header `sluice.pos`.
    package static func part(of position: Span<UInt8>, after stored: StoredPosition) -> Int {
        guard stored.ordinal > 0, let record = RecordPosition(parsing: position),
            record.position.commitLSN == stored.commitLSN
        else { return 0 }
        return stored.splitPart
    }
}
