extension ChangeEncoder {
    /// A row change: an insert, an update or a delete.
    mutating func change(
        _ message: Span<UInt8>, at lsn: LSN, receivedAt: Int64, into chunk: inout RecordContents
    ) throws(ChangeDataError) -> Step {
        let kind = message[0]
        let row = try parse(message, at: lsn) { (reader) throws(Malformation) in
            try RowMessage(kind, &reader, new: &new, old: &old)
        }
        guard let ordinal = try count(kind, at: lsn) else { return .changed(records: 0) }
        guard let plan = try plan(row.relation, at: lsn) else { return passOver(row.relation) }
        // A server's bug (15.0 and 15.1 with column lists) sent more columns than announced: stop, never shift.
        let width = plan.columns.count
        guard kind == UInt8(ascii: "D") || new.count == width, row.oldTag == 0 || old.count == width else {
            throw .malformed(Malformation(message: kind, offset: 0, reason: .columnCount), at: lsn)
        }
        guard !plan.key.isEmpty else {
            throw .noKey(table: plan.relation.table, identity: plan.relation.replicaIdentity, at: lsn)
        }
        received.make(receivedAt)
        let records = chunk.records.count
        let bytes = chunk.buffer.count
        do throws(CellFailure) {
            try write(kind, message, plan, oldIsRow: row.oldTag == UInt8(ascii: "O"), ordinal, lsn, into: &chunk)
        } catch {
            chunk.truncate(records: records, bytes: bytes)
            let column = plan.relation.columns[error.column].name
            throw .unrepresentable(table: plan.relation.table, column: column, why: error.reason, at: lsn)
        }
        // Record lengths are 32 bit; a record's parts are all shorter than the change's bytes.
        guard chunk.buffer.count - bytes <= Int(Int32.max) else {
            chunk.truncate(records: records, bytes: bytes)
            throw .tooLarge(table: plan.relation.table, at: lsn)
        }
        return .changed(records: chunk.records.count - records)
    }

    private mutating func write(
        _ kind: UInt8, _ message: Span<UInt8>, _ plan: TablePlan, oldIsRow: Bool, _ ordinal: UInt64, _ lsn: LSN,
        into chunk: inout RecordContents
    ) throws(CellFailure) {
        switch kind {
        case UInt8(ascii: "I"):
            try append(.create, plan, message, ordinal, lsn, link: .none, into: &chunk)
        case UInt8(ascii: "D"):
            try append(.delete, plan, message, ordinal, lsn, link: .none, oldIsRow: oldIsRow, into: &chunk)
        default:
            if try keyHasChanged(plan, message) {
                try append(.delete, plan, message, ordinal, lsn, link: .newKey, oldIsRow: oldIsRow, into: &chunk)
                try append(.create, plan, message, ordinal, lsn, link: .oldKey, into: &chunk)
            } else {
                try append(.update, plan, message, ordinal, lsn, link: .none, oldIsRow: oldIsRow, into: &chunk)
            }
        }
    }

    /// Whether an update's old and new key differ as written; both are then in `oldKey` and `newKey`.
    private mutating func keyHasChanged(_ plan: TablePlan, _ message: Span<UInt8>) throws(CellFailure) -> Bool {
        guard !old.isEmpty else { return false }
        var differs = false
        for column in plan.key {
            let before = old[column.column]
            let after = new[column.column]
            guard after.kind != .unchanged else { continue }
            if before.kind != after.kind || !equalBytes(message, before.range, after.range) { differs = true }
        }
        guard differs else { return false }
        newKey.removeAll()
        oldKey.removeAll()
        try newKey.append(keyOf: plan, message, new, old: old, &scratch)
        try oldKey.append(keyOf: plan, message, old, old: old, &scratch)
        return !equalContents(newKey, oldKey)
    }

    private enum Link {
        case none, newKey, oldKey
    }

    /// Appends a record, and behind a delete its tombstone. Creates and updates have the new row's key, deletes the old's.
    private mutating func append(
        _ operation: Operation, _ plan: TablePlan, _ message: Span<UInt8>, _ ordinal: UInt64, _ lsn: LSN, link: Link,
        oldIsRow: Bool = false, into chunk: inout RecordContents
    ) throws(CellFailure) {
        let isDelete = operation == .delete
        let start = chunk.buffer.count
        if isDelete {
            try chunk.buffer.append(keyOf: plan, message, old, old: old, &scratch)
        } else {
            try chunk.buffer.append(keyOf: plan, message, new, old: old, &scratch)
        }
        let keyEnd = chunk.buffer.count
        // The create of a changed key has no before: the delete has it.
        let hasBefore = link != .oldKey && !old.isEmpty
        switch format.envelope {
        case .debezium:
            try chunk.buffer.append(
                debezium: operation, plan, message, new: new, old: old, hasBefore: hasBefore, &scratch)
            chunk.buffer.append(
                endOf: plan, operation: operation.letter, pieces, received, ordinal: ordinal, lsn: lsn,
                envelope: .debezium)
            chunk.buffer.append(UInt8(ascii: "}"))
        case .flat:
            try chunk.buffer.append(
                flat: plan, message, isDelete ? old : new, old: old, identityOnly: isDelete && !oldIsRow,
                operation: operation.letter, pieces, received, ordinal: ordinal, lsn: lsn, &scratch)
        }
        let valueEnd = chunk.buffer.count
        chunk.buffer.append(position: pieces, ordinal: ordinal)
        let positionEnd = chunk.buffer.count
        append(link, to: &chunk.buffer)
        chunk.append(
            operation, start: start, keyEnd: keyEnd, valueEnd: valueEnd, positionEnd: positionEnd,
            topic: plan.topic, table: plan.table, linkIsNewKey: link == .newKey, hasLink: link != .none)
        guard isDelete, format.tombstones else { return }
        let second = chunk.buffer.count
        try chunk.buffer.append(keyOf: plan, message, old, old: old, &scratch)
        let secondEnd = chunk.buffer.count
        chunk.buffer.append(position: pieces, ordinal: ordinal)
        let secondPositionEnd = chunk.buffer.count
        append(link, to: &chunk.buffer)
        chunk.append(
            .tombstone, start: second, keyEnd: secondEnd, valueEnd: nil, positionEnd: secondPositionEnd,
            topic: plan.topic, table: plan.table, linkIsNewKey: link == .newKey, hasLink: link != .none)
    }

    private func append(_ link: Link, to out: inout ByteBuffer) {
        switch link {
        case .none: break
        case .newKey: out.append(newKey.span)
        case .oldKey: out.append(oldKey.span)
        }
    }
}

extension Operation {
    var letter: StaticString {
        switch self {
        case .create: "c"
        case .update: "u"
        case .delete, .tombstone: "d"
        case .truncate: "t"
        case .message: "m"
        // A dead letter says itself what the change was.
        case .deadLetter: "x"
        }
    }
}

private func equalBytes(_ message: Span<UInt8>, _ left: Range<Int>, _ right: Range<Int>) -> Bool {
    guard left.count == right.count else { return false }
    for offset in 0..<left.count where message[left.lowerBound + offset] != message[right.lowerBound + offset] {
        return false
    }
    return true
}

private func equalContents(_ left: borrowing ByteBuffer, _ right: borrowing ByteBuffer) -> Bool {
    guard left.count == right.count else { return false }
    let first = left.span
    let second = right.span
    for index in first.indices where first[index] != second[index] { return false }
    return true
}
