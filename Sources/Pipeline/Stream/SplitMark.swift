import ChangeData

/// The value of the header `sluice.split`: which part of a split transaction a record is in, from 2 (a first part is not
/// yet known to be one).
struct SplitMark: ~Copyable {
    private var digits = ByteBuffer(capacity: 8)

    init(part: Int) { digits.append(decimal: part) }

    var text: Span<UInt8> {
        @_lifetime(borrow self)
        get { digits.span }
    }
}
