import ChangeData

/// What differs between a table and what its records say: told row by row.
struct TableDifference: Equatable {
    enum Kind: String, CaseIterable { case missing, extra, changed, unrepresentable }

    /// Rows of the table that the records do not have; rows that only the records have; rows of one key with other values; rows that
    /// no record can hold.
    private(set) var counts: [Kind: Int] = [:]
    /// The keys of the first few, of those of each kind.
    private(set) var examples: [String] = []
    /// The beginning of the records is gone (retention): rows that did not change since cannot be there, and of values that were sent
    /// there nothing is known.
    let isTrimmed: Bool

    init(isTrimmed: Bool) { self.isTrimmed = isTrimmed }

    /// The counts, for people.
    var description: String {
        Kind.allCases.compactMap { kind in counts[kind].map { "\($0) \(kind.rawValue)" } }.joined(separator: ", ")
    }

    var isEmpty: Bool { counts.isEmpty }

    /// A row of the table, and what the records have for its key.
    mutating func compare(_ key: [UInt8], _ row: [UInt8], with record: TableFold.Row?) {
        guard let record else {
            if !isTrimmed { note(.missing, Self.text(key)) }
            return
        }
        if row != record.bytes, !Self.equal(row, record, leaving: isTrimmed) { note(.changed, Self.text(key)) }
    }

    /// A key that only the records have.
    mutating func note(extra key: [UInt8]) { note(.extra, Self.text(key)) }

    /// A row of the table that no record can hold.
    mutating func note(unrepresentable why: ChangeDataError) {
        // Its LSN is none: the row comes from the table.
        let text =
            if case .unrepresentable(_, let column, let reason, _) = why {
                "column \"\(column)\": \(reason.rawValue)"
            } else { "the table has no usable key" }
        note(.unrepresentable, text)
    }

    private mutating func note(_ kind: Kind, _ text: String) {
        counts[kind, default: 0] += 1
        guard examples.count < 5, counts[kind, default: 0] <= 2 || kind != .unrepresentable else { return }
        examples.append("\(kind.rawValue): \(text)")
    }

    private static func text(_ key: [UInt8]) -> String {
        String(decoding: key.map { $0 == 0 ? UInt8(ascii: " ") : $0 }, as: UTF8.self)
    }

    /// Equal column by column. A record from before a column was added has none: that is the column's null.
    private static func equal(_ row: [UInt8], _ record: TableFold.Row, leaving unresolved: Bool) -> Bool {
        guard let row = JSONMembers(row), let members = JSONMembers(record.bytes) else { return false }
        let null = Array("null".utf8)
        for member in row.members {
            let name = Array(row.bytes[member.name])
            if unresolved, record.unresolved.contains(name) { continue }
            let value = row.bytes[member.value]
            let other = members.value(of: name).map { members.bytes[$0] } ?? null[...]
            if !value.elementsEqual(other) { return false }
        }
        return true
    }
}
