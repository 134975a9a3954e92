/// The last row of a key, as far as it is known, and how it is laid out on the disk.
struct FoldedRow: Equatable {
    var row: [UInt8]
    /// Of the change that wrote it.
    var place: ChangeValue.Place
    /// Where to find the values that were not sent: in the row that this change deleted, of another key and perhaps of a
    /// partition that is read later. Nil for a row that is whole.
    var missing: ChangeValue.Place?
    /// Columns that were left out (`flat`) and are still to be found.
    var unchanged: [[UInt8]] = []
    /// Whether PostgreSQL may keep a value of it outside the row: a change of the key then does not send it.
    var mayBeToasted = false

    init(row: [UInt8], place: ChangeValue.Place, unchanged: [[UInt8]] = []) {
        self.row = row
        self.place = place
        self.unchanged = unchanged
    }

    // MARK: Bytes

    /// place; flags: 1 the other place follows, 2 a value may be outside; the number of columns, and each with its length; the row.
    var bytes: [UInt8] {
        var bytes = place.bytes
        bytes.reserveCapacity(bytes.count + row.count + 64)
        bytes.append((missing == nil ? 0 : 1) | (mayBeToasted ? 2 : 0))
        if let missing { bytes += missing.bytes }
        bytes += Self.bytes(UInt32(unchanged.count))
        for name in unchanged { bytes += Self.bytes(UInt32(name.count)) + name }
        return bytes + row
    }

    /// Nil for bytes that are not of this layout.
    init?(_ bytes: [UInt8]) {
        var rest = bytes[...]
        guard let place = ChangeValue.Place(taking: &rest), let flag = rest.popFirst() else { return nil }
        self.place = place
        mayBeToasted = flag & 2 != 0
        if flag & 1 != 0 {
            guard let missing = ChangeValue.Place(taking: &rest) else { return nil }
            self.missing = missing
        }
        guard let count: UInt32 = Self.take(&rest) else { return nil }
        for _ in 0..<count {
            guard let length: UInt32 = Self.take(&rest), rest.count >= length else { return nil }
            unchanged.append(Array(rest.prefix(Int(length))))
            rest = rest.dropFirst(Int(length))
        }
        row = Array(rest)
    }

    fileprivate static func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        stride(from: Number.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> Number($0)) }
    }

    fileprivate static func take<Number: FixedWidthInteger>(_ bytes: inout ArraySlice<UInt8>) -> Number? {
        let size = Number.bitWidth / 8
        guard bytes.count >= size else { return nil }
        defer { bytes = bytes.dropFirst(size) }
        return bytes.prefix(size).reduce(0) { $0 << 8 | Number($1) }
    }
}

extension ChangeValue.Place {
    var bytes: [UInt8] { FoldedRow.bytes(epoch) + FoldedRow.bytes(lsn) + FoldedRow.bytes(ordinal) }

    fileprivate init?(taking bytes: inout ArraySlice<UInt8>) {
        guard let epoch: UInt32 = FoldedRow.take(&bytes), let lsn: UInt64 = FoldedRow.take(&bytes),
            let ordinal: UInt64 = FoldedRow.take(&bytes)
        else { return nil }
        self.init(epoch: epoch, lsn: lsn, ordinal: ordinal)
    }
}
