/// What differs between a table and what its records say.
struct TableDifference: Equatable {
    enum Kind: String, CaseIterable { case missing, extra, changed, unrepresentable }

    /// Rows of the table that the records do not have; rows that only the records have; rows of one key with other values; rows that
    /// no record can hold.
    private(set) var counts: [Kind: Int] = [:]
    /// The keys of the first few.
    private(set) var examples: [String] = []

    /// The counts, for people.
    var description: String {
        Kind.allCases.compactMap { kind in counts[kind].map { "\($0) \(kind.rawValue)" } }.joined(separator: ", ")
    }

    var isEmpty: Bool { counts.isEmpty }

    /// - Parameters:
    ///   - isTrimmed: the beginning of the records is gone (retention): rows that did not change since cannot be there.
    ///   - unresolved: columns, by the row's key, whose values were sent at that beginning.
    init(
        table: TableReader.Contents, records: [[UInt8]: [UInt8]], isTrimmed: Bool,
        unresolved: [[UInt8]: Set<[UInt8]>] = [:]
    ) {
        if !table.unrepresentable.isEmpty { counts[.unrepresentable] = table.unrepresentable.count }
        for why in table.unrepresentable.prefix(2) {
            // Its LSN is none: the row comes from the table.
            let text =
                if case .unrepresentable(_, let column, let reason, _) = why {
                    "column \"\(column)\": \(reason.rawValue)"
                } else { "the table has no usable key" }
            examples.append("\(Kind.unrepresentable.rawValue): \(text)")
        }
        for (key, row) in table.rows {
            if let other = records[key] {
                if row != other, !Self.equal(row, other, but: unresolved[key] ?? []) { note(.changed, key) }
            } else if !isTrimmed {
                note(.missing, key)
            }
        }
        for key in records.keys where table.rows[key] == nil { note(.extra, key) }
    }

    private mutating func note(_ kind: Kind, _ key: [UInt8]) {
        counts[kind, default: 0] += 1
        guard examples.count < 5 else { return }
        examples.append(
            "\(kind.rawValue): \(String(decoding: key.map { $0 == 0 ? UInt8(ascii: " ") : $0 }, as: UTF8.self))")
    }

    /// Equal column by column. A record from before a column was added has none: that is the column's null.
    private static func equal(_ row: [UInt8], _ record: [UInt8], but left: Set<[UInt8]>) -> Bool {
        guard let row = JSONMembers(row), let record = JSONMembers(record) else { return false }
        let null = Array("null".utf8)
        for member in row.members {
            let name = Array(row.bytes[member.name])
            if left.contains(name) { continue }
            let value = row.bytes[member.value]
            let other = record.value(of: name).map { record.bytes[$0] } ?? null[...]
            if !value.elementsEqual(other) { return false }
        }
        return true
    }
}
