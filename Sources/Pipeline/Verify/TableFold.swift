/// A table as its records say it is: the last row of each key.
struct TableFold {
    /// Why a value could not be folded.
    struct Malformed: Error, Equatable {
        var reason: String
    }

    private struct Entry {
        var row: [UInt8]
        var place: ChangeValue.Place
        /// Where to find the values that were not sent: in the row that this change deleted, of another key and perhaps of a
        /// partition that is read later. Nil for a row that is whole.
        var missing: ChangeValue.Place?
        /// Columns that were left out (`flat`) and are still to be found.
        var unchanged: [[UInt8]] = []
    }

    /// The key's columns as JSON escapes their names.
    private let keyColumns: [[UInt8]]
    private var entries: [[UInt8]: Entry] = [:]
    private var truncatedAt = ChangeValue.Place(lsn: 0)
    /// The rows that were deleted, by the change: a changed key is a delete and a create, and what the create does not say
    /// stood in the row that was deleted.
    private var deleted: [ChangeValue.Place: Entry] = [:]
    /// Changes folded so far.
    private(set) var changes = 0
    /// What stands for a value that was not sent, as Debezium writes it; with the array and base64 forms.
    private static let placeholders = [
        "\"__debezium_unavailable_value\"", "[\"__debezium_unavailable_value\"]",
        "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"",
    ].map { Array($0.utf8) }

    init(keyColumns: [[UInt8]]) { self.keyColumns = keyColumns }

    mutating func apply(_ bytes: [UInt8]) throws(Malformed) {
        switch ChangeValue.read(bytes) {
        case .malformed: throw Malformed(reason: "a value is neither of the envelopes")
        case .message: return
        case .change(let change):
            changes += 1
            try apply(change)
        }
    }

    private mutating func apply(_ change: ChangeValue) throws(Malformed) {
        switch change.operation {
        case .truncate: truncatedAt = max(truncatedAt, change.place)
        case .delete: deleted[change.place] = entries.removeValue(forKey: try key(of: change.row))
        case .write:
            let key = try key(of: change.row)
            var entry = Entry(row: change.row, place: change.place, missing: nil, unchanged: change.unchanged)
            if isIncomplete(entry) {
                entry.missing = change.place
                if let before = entries[key] ?? deleted[change.place] { complete(&entry, from: before) }
            }
            entries[key] = entry
        }
    }

    /// Fills what was not sent from the row before; what that one lacks itself is still missing.
    private func complete(_ entry: inout Entry, from before: Entry) {
        entry.row = merged(entry, over: before.row)
        entry.missing = before.missing
        entry.unchanged = before.missing == nil ? [] : before.unchanged
    }

    /// An entry with the values that were in rows of other keys.
    private func whole(_ entry: Entry) -> Entry {
        var entry = entry
        // Each step goes to an earlier change, so that it ends.
        while let place = entry.missing, let before = deleted[place] {
            complete(&entry, from: before)
            guard entry.missing != place else { break }
        }
        return entry
    }

    /// The rows by key. A truncate removes what was written before it: it holds a lock that lets nobody write meanwhile, so that
    /// the order of the rows' LSNs is the order of the changes.
    var rows: [[UInt8]: [UInt8]] {
        entries.filter { $0.value.place > truncatedAt }.mapValues { whole($0).row }
    }

    /// The columns of rows whose values were sent in changes that are gone, by the row's key.
    var unresolved: [[UInt8]: Set<[UInt8]>] {
        entries.compactMapValues { entry in
            let entry = whole(entry)
            guard entry.missing != nil else { return nil }
            let left = JSONMembers(entry.row).map { members in
                members.members.filter { isPlaceholder(members.bytes[$0.value]) }.map { Array(members.bytes[$0.name]) }
            }
            return Set(entry.unchanged + (left ?? []))
        }
    }

    private func isPlaceholder(_ value: ArraySlice<UInt8>) -> Bool {
        Self.placeholders.contains { $0.elementsEqual(value) }
    }

    /// The values of the key's columns, joined.
    func key(of row: [UInt8]) throws(Malformed) -> [UInt8] {
        guard let members = JSONMembers(row) else { throw Malformed(reason: "a row is not an object") }
        var key: [UInt8] = []
        for column in keyColumns {
            guard let value = members.value(of: column) else {
                throw Malformed(reason: "a row lacks the key column \(String(decoding: column, as: UTF8.self))")
            }
            key += row[value]
            key.append(0)
        }
        return key
    }

    /// Whether values of the row were not sent.
    private func isIncomplete(_ entry: Entry) -> Bool {
        guard entry.unchanged.isEmpty else { return true }
        guard let members = JSONMembers(entry.row) else { return false }
        return members.members.contains { isPlaceholder(members.bytes[$0.value]) }
    }

    /// A row in which values that were not sent are those of the row before.
    private func merged(_ entry: Entry, over before: [UInt8]) -> [UInt8] {
        guard let before = JSONMembers(before), let now = JSONMembers(entry.row) else { return entry.row }
        var row: [UInt8] = [UInt8(ascii: "{")]
        func append(_ members: JSONMembers, _ member: JSONMembers.Member, value: ArraySlice<UInt8>) {
            if row.count > 1 { row.append(UInt8(ascii: ",")) }
            row.append(UInt8(ascii: "\""))
            row += members.bytes[member.name]
            row += [UInt8(ascii: "\""), UInt8(ascii: ":")]
            row += value
        }
        for member in now.members {
            let value = now.bytes[member.value]
            let old = isPlaceholder(value) ? before.value(of: Array(now.bytes[member.name])) : nil
            append(now, member, value: old.map { before.bytes[$0] } ?? value)
        }
        for name in entry.unchanged {
            guard let old = before.members.first(where: { before.bytes[$0.name].elementsEqual(name) }) else { continue }
            append(before, old, value: before.bytes[old.value])
        }
        row.append(UInt8(ascii: "}"))
        return row
    }
}
