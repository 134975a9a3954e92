/// Debezium's outer times, as bytes: made again only when the time of arrival changes, which is once a batch.
struct ReceivedPiece: ~Copyable {
    private(set) var bytes = ByteBuffer(capacity: 128)
    private var time: Int64?

    /// Makes the piece of a time in nanoseconds since 1970.
    mutating func make(_ nanoseconds: Int64) {
        guard time != nanoseconds else { return }
        time = nanoseconds
        bytes.removeAll()
        bytes.append("\",\"ts_ms\":")
        bytes.append(decimal: nanoseconds / 1_000_000)
        bytes.append(",\"ts_us\":")
        bytes.append(decimal: nanoseconds / 1000)
        bytes.append(",\"ts_ns\":")
        bytes.append(decimal: nanoseconds)
    }
}

extension ByteBuffer {
    mutating func append(
        keyOf plan: TablePlan, _ message: Span<UInt8>, _ cells: [Cell], old: [Cell], _ scratch: inout Scratch
    ) throws(CellFailure) {
        let image = RowImage(message, cells.span, old: old.span)
        let key = plan.key
        let templates = plan.templates
        try append(key: image, key.span, templates.span, &scratch)
    }

    /// Appends `{"before":...,"after":...,`.
    mutating func append(
        debezium operation: Operation, _ plan: TablePlan, _ message: Span<UInt8>, new: [Cell], old: [Cell],
        hasBefore: Bool, _ scratch: inout Scratch
    ) throws(CellFailure) {
        let columns = plan.columns
        let templates = plan.templates
        if hasBefore {
            append("{\"before\":")
            let image = RowImage(message, old.span, old: old.span)
            try append(row: image, columns.span, templates.span, &scratch)
            append(",\"after\":")
        } else {
            append("{\"before\":null,\"after\":")
        }
        if operation == .delete {
            append("null,")
        } else {
            let image = RowImage(message, new.span, old: old.span)
            try append(row: image, columns.span, templates.span, &scratch)
            append(",")
        }
    }

    /// Appends a row in the flat envelope.
    mutating func append(
        flat plan: TablePlan, _ message: Span<UInt8>, _ cells: [Cell], old: [Cell], identityOnly: Bool,
        operation: StaticString, _ pieces: borrowing TransactionPieces, _ received: borrowing ReceivedPiece,
        ordinal: UInt64, lsn: LSN, _ scratch: inout Scratch
    ) throws(CellFailure) {
        let image = RowImage(message, cells.span, old: old.span)
        let columns = plan.columns
        let templates = plan.templates
        let hasUnchanged = try append(
            flatRow: image, columns.span, templates.span, identityOnly: identityOnly, &scratch)
        append(
            endOf: plan, operation: operation, pieces, received, ordinal: ordinal, lsn: lsn, envelope: .flat)
        if hasUnchanged { append(unchangedOf: image, columns.span, templates.span) }
        append(UInt8(ascii: "}"))
    }

    /// Appends all that follows the row's images, without the closing brace.
    mutating func append(
        endOf plan: TablePlan, operation: StaticString, _ pieces: borrowing TransactionPieces,
        _ received: borrowing ReceivedPiece, ordinal: UInt64, lsn: LSN, envelope: EventFormat.Envelope
    ) {
        switch envelope {
        case .debezium:
            let templates = plan.templates
            append(source: pieces, table: templates.span.extracting(plan.source), lsn: lsn)
            append(",\"op\":\"")
            append(operation)
            append(received.bytes.span)
        case .flat:
            append("\"_op\":\"")
            append(operation)
            append(pieces.bytes.span.extracting(pieces.flat))
            append(decimal: ordinal)
        }
    }
}
