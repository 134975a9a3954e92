import LocalStorage

/// A table as its records say it is: the last row of each key. On disk, since it may be larger than memory.
final class TableFold {
    enum Failure: Error {
        /// Why a value could not be folded.
        case malformed(String)
        case disk(DiskMapError)
    }

    /// A row as the records have it.
    struct Row: Equatable {
        var bytes: [UInt8]
        /// Columns whose values were sent in changes that are gone.
        var unresolved: Set<[UInt8]> = []
    }

    /// The key's columns as JSON escapes their names.
    private let keyColumns: [[UInt8]]
    private let disk: DiskMap
    /// The map of the last row of each key.
    private let rows: Int
    /// The map of the rows that were deleted, by the change: a changed key is a delete and a create, and what the create does
    /// not say stood in the row that was deleted. Of those that may have such values.
    private let deleted: Int
    /// A truncate holds a lock that lets nobody write meanwhile: within an epoch the order of LSNs is the order of the changes.
    private var truncatedAt: ChangeValue.Place?
    /// Changes folded so far.
    private(set) var changes = 0
    /// What stands for a value that was not sent, as Debezium writes it; with the array and base64 forms.
    private static let placeholders = [
        "\"__debezium_unavailable_value\"", "[\"__debezium_unavailable_value\"]",
        "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"",
    ].map { Array($0.utf8) }

    /// - Parameter number: of this fold, among those that are on the disk.
    init(keyColumns: [[UInt8]], on disk: DiskMap, number: Int) {
        self.keyColumns = keyColumns
        self.disk = disk
        rows = 2 * number
        deleted = 2 * number + 1
    }

    // MARK: Records

    /// Takes the next record of a partition, or of an object.
    func apply(_ bytes: [UInt8], epoch: UInt32) throws(Failure) {
        switch ChangeValue.read(bytes, epoch: epoch) {
        case .malformed: throw .malformed("a value is neither of the envelopes")
        case .message: return
        case .change(let change):
            changes += 1
            try apply(change)
        }
    }

    private func apply(_ change: ChangeValue) throws(Failure) {
        // Of a partition that is read later.
        if change.operation != .truncate, let truncatedAt, change.place <= truncatedAt { return }
        switch change.operation {
        case .truncate:
            guard truncatedAt.map({ $0 < change.place }) ?? true else { return }
            truncatedAt = change.place
            try forget(upTo: change.place)
        case .delete:
            let key = try key(of: change.row)
            guard let gone = try row(key, in: rows) else { return }
            // Else the disk would have to hold each row that ever was.
            if gone.mayBeToasted { try store(gone, change.place.bytes, in: deleted) }
            try remove(key)
        case .create, .update:
            let key = try key(of: change.row)
            var new = FoldedRow(row: change.row, place: change.place, unchanged: change.unchanged)
            // What was not sent is outside, however small the rest has become since.
            new.mayBeToasted = isIncomplete(new) || isWide(new.row)
            if isIncomplete(new) {
                new.missing = change.place
                // What was there under the key of a create is another row, long gone: of a truncate, or before a gap.
                let before =
                    change.operation == .update
                    ? try row(key, in: rows) : try row(change.place.bytes, in: deleted)
                if let before { complete(&new, from: before) }
            }
            try store(new, key, in: rows)
        }
    }

    /// Whether PostgreSQL may have moved a value of the row out of it as it wrote it: it does so with rows of more than some 2,000
    /// bytes. How many a value takes there is not known: no more than its JSON eight times over, and 64.
    private func isWide(_ row: [UInt8]) -> Bool {
        guard let members = JSONMembers(row) else { return true }
        return members.members.reduce(0) { $0 + 64 + 8 * $1.value.count } > 2000
    }

    /// A truncate removes what came before it.
    private func forget(upTo place: ChangeValue.Place) throws(Failure) {
        // A row begins with its place, and no flag follows that is as large.
        let end = place.bytes + [.max]
        do throws(DiskMapError) {
            try disk.removeAll(in: rows, where: .value, isBefore: end)
            try disk.removeAll(in: deleted, where: .key, isBefore: end)
        } catch { throw .disk(error) }
    }

    /// Fills what was not sent from the row before; what that one lacks itself is still missing.
    private func complete(_ new: inout FoldedRow, from before: FoldedRow) {
        new.row = merged(new, over: before.row)
        new.missing = before.missing
        new.unchanged = before.missing == nil ? [] : before.unchanged
    }

    // MARK: Rows

    /// Takes a key's row out; nil where there is none.
    func take(_ key: [UInt8]) throws(Failure) -> Row? {
        guard let row = try row(key, in: rows) else { return nil }
        try remove(key)
        return try whole(row)
    }

    /// Shows the keys of the rows that were not taken.
    func forEachLeft(_ body: (_ key: [UInt8]) -> Void) throws(Failure) {
        do throws(DiskMapError) {
            try disk.forEach(in: rows) { key, _ in body(key) }
        } catch { throw .disk(error) }
    }

    /// Gives the disk back.
    func discard() throws(Failure) {
        do throws(DiskMapError) {
            for map in [rows, deleted] { try disk.removeAll(in: map) }
        } catch { throw .disk(error) }
    }

    /// A row with the values that were in rows of other keys.
    private func whole(_ found: FoldedRow) throws(Failure) -> Row {
        var found = found
        // Each step goes to an earlier change, so that it ends.
        while let place = found.missing, let before = try row(place.bytes, in: deleted) {
            complete(&found, from: before)
            guard found.missing != place else { break }
        }
        guard found.missing != nil else { return Row(bytes: found.row) }
        let left = JSONMembers(found.row).map { members in
            members.members.filter { isPlaceholder(members.bytes[$0.value]) }.map { Array(members.bytes[$0.name]) }
        }
        return Row(bytes: found.row, unresolved: Set(found.unchanged + (left ?? [])))
    }

    private func isPlaceholder(_ value: ArraySlice<UInt8>) -> Bool {
        Self.placeholders.contains { $0.elementsEqual(value) }
    }

    /// The values of the key's columns, joined.
    func key(of row: [UInt8]) throws(Failure) -> [UInt8] {
        guard let members = JSONMembers(row) else { throw .malformed("a row is not an object") }
        var key: [UInt8] = []
        for column in keyColumns {
            guard let value = members.value(of: column) else {
                throw .malformed("a row lacks the key column \(String(decoding: column, as: UTF8.self))")
            }
            key += row[value]
            key.append(0)
        }
        return key
    }

    /// Whether values of the row were not sent.
    private func isIncomplete(_ row: FoldedRow) -> Bool {
        guard row.unchanged.isEmpty else { return true }
        guard let members = JSONMembers(row.row) else { return false }
        return members.members.contains { isPlaceholder(members.bytes[$0.value]) }
    }

    /// A row in which values that were not sent are those of the row before.
    private func merged(_ new: FoldedRow, over before: [UInt8]) -> [UInt8] {
        guard let before = JSONMembers(before), let now = JSONMembers(new.row) else { return new.row }
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
        for name in new.unchanged {
            guard let old = before.members.first(where: { before.bytes[$0.name].elementsEqual(name) }) else { continue }
            append(before, old, value: before.bytes[old.value])
        }
        row.append(UInt8(ascii: "}"))
        return row
    }

    // MARK: The disk

    private func row(_ key: [UInt8], in map: Int) throws(Failure) -> FoldedRow? {
        do throws(DiskMapError) {
            return try disk.value(of: key, in: map).flatMap(FoldedRow.init)
        } catch { throw .disk(error) }
    }

    private func store(_ row: FoldedRow, _ key: [UInt8], in map: Int) throws(Failure) {
        do throws(DiskMapError) { try disk.set(key, to: row.bytes, in: map) } catch { throw .disk(error) }
    }

    private func remove(_ key: [UInt8]) throws(Failure) {
        do throws(DiskMapError) { try disk.remove(key, in: rows) } catch { throw .disk(error) }
    }
}
