/// A change that cannot be written as an event, written as the server sent it: for the topic where the user has chosen to have
/// such changes (C8), to be read by a person, and by a program that puts them right.
///
/// Its key is `{"schema":...,"table":...}`, so that those of one table stay in order. A column's value is PostgreSQL's text, or, where
/// that is not UTF-8 or came in binary, `{"base64":...}`; `{"unchanged":true}` is a TOAST value that the server left out.
extension ChangeEncoder {
    /// Writes the change that could not be written, or throws why where no topic takes such changes. Apart from the code of all other
    /// changes, which is fast because it is small.
    @inline(never)
    mutating func setAside(
        _ error: ChangeDataError, _ message: Span<UInt8>, at lsn: LSN, into chunk: inout RecordContents
    ) throws(ChangeDataError) -> Step {
        switch error {
        case .unrepresentable, .noKey: break
        default: throw error
        }
        guard let name = format.deadLetterTopic, let open = transaction else { throw error }
        let kind = message[0]
        let row = try parse(message, at: lsn) { (reader) throws(Malformation) in
            try RowMessage(kind, &reader, new: &new, old: &old)
        }
        guard let plan = try plan(row.relation, at: lsn) else { throw error }
        let topic = index(ofTopic: name)
        let records = chunk.records.count
        let start = chunk.buffer.count
        chunk.buffer.append(tableOf: plan)
        chunk.buffer.append("}")
        let keyEnd = chunk.buffer.count
        chunk.buffer.append(tableOf: plan)
        chunk.buffer.append(reason: error, operation: kind, open.head, ordinal: open.ordinal, lsn: lsn)
        let isWhole = row.oldTag == UInt8(ascii: "O")
        chunk.buffer.append(",\"before\":")
        chunk.buffer.append(raw: RowImage(message, old.span, old: old.span), plan, identityOnly: !isWhole)
        chunk.buffer.append(",\"after\":")
        if kind == UInt8(ascii: "D") {
            // `new` is still that of the row before.
            chunk.buffer.append("null")
        } else {
            chunk.buffer.append(raw: RowImage(message, new.span, old: old.span), plan, identityOnly: false)
        }
        chunk.buffer.append("}")
        let valueEnd = chunk.buffer.count
        chunk.buffer.append(position: pieces, ordinal: open.ordinal)
        guard chunk.buffer.count - start <= Int(Int32.max) else {
            chunk.truncate(records: records, bytes: start)
            throw error
        }
        chunk.append(
            .deadLetter, start: start, keyEnd: keyEnd, valueEnd: valueEnd, positionEnd: chunk.buffer.count,
            topic: topic, table: plan.table)
        return .setAside(error)
    }
}

extension ByteBuffer {
    /// Appends `{"schema":...,"table":...`.
    fileprivate mutating func append(tableOf plan: TablePlan) {
        append("{\"schema\":")
        append(jsonString: plan.relation.table.schema)
        append(",\"table\":")
        append(jsonString: plan.relation.table.name)
    }

    /// Appends what is known of the change, between its table and its row.
    fileprivate mutating func append(
        reason error: ChangeDataError, operation kind: UInt8, _ head: TransactionHead, ordinal: UInt64, lsn: LSN
    ) {
        append(",\"op\":\"")
        switch kind {
        case UInt8(ascii: "I"): append(Operation.create.letter)
        case UInt8(ascii: "U"): append(Operation.update.letter)
        default: append(Operation.delete.letter)
        }
        append("\",\"column\":")
        if case .unrepresentable(_, let column, _, _) = error { append(jsonString: column) } else { append("null") }
        append(",\"reason\":")
        append(jsonString: error.description)
        append(",\"lsn\":\"")
        append(lsn: lsn)
        append("\",\"commit_lsn\":\"")
        append(lsn: head.commitLSN)
        append("\",\"ordinal\":")
        append(decimal: ordinal)
        append(",\"xid\":")
        append(decimal: head.xid)
        append(",\"commit_ts\":\"")
        append(moment: head.commitTime)
        append("\"")
    }

    /// Appends a tuple as it came, or null where there is none.
    /// - Parameter identityOnly: an old tuple that holds the replica identity alone: a null in it is no value but a gap.
    fileprivate mutating func append(raw image: RowImage, _ plan: TablePlan, identityOnly: Bool) {
        guard !image.cells.isEmpty else { return append("null") }
        var separator = UInt8(ascii: "{")
        for column in plan.columns {
            let cell = image.cell(column.column)
            // Not by the flags of the root: a partition may have sent another key.
            if identityOnly, cell.kind == .null { continue }
            append(separator)
            append(jsonString: plan.relation.columns[column.column].name)
            append(UInt8(ascii: ":"))
            append(raw: cell, of: image.message)
            separator = UInt8(ascii: ",")
        }
        if separator == UInt8(ascii: "{") { append(separator) }
        append(UInt8(ascii: "}"))
    }

    private mutating func append(raw cell: Cell, of message: Span<UInt8>) {
        switch cell.kind {
        case .null: return append("null")
        case .unchanged: return append("{\"unchanged\":true}")
        case .binary: break
        case .text:
            let start = count
            do throws(ValueFailure) {
                return try append(jsonString: message.extracting(cell.range))
            } catch { truncate(to: start) }
        }
        append("{\"base64\":\"")
        append(base64: message.extracting(cell.range))
        append("\"}")
    }
}
