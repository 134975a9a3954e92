/// Which column of a row could not be written, and why.
struct CellFailure: Error {
    var column: Int
    var reason: ValueFailure
}

/// The tuples of one row change: the message and where its cells lie.
struct RowImage: ~Escapable {
    let message: Span<UInt8>
    let cells: Span<Cell>
    /// The old tuple's cells, which fill what `cells` leave out; or empty.
    let old: Span<Cell>

    @_lifetime(copy message, copy cells, copy old)
    init(_ message: Span<UInt8>, _ cells: Span<Cell>, old: Span<Cell>) {
        self.message = message
        self.cells = cells
        self.old = old
    }

    /// A column's cell: of an unchanged TOAST value that the old tuple has, the old tuple's.
    @inline(__always)
    func cell(_ column: Int) -> Cell {
        let cell = cells[column]
        return cell.kind == .unchanged && column < old.count && old[column].kind == .text ? old[column] : cell
    }
}

extension ByteBuffer {
    /// Appends a row as a JSON object of all its columns: Debezium's `before` and `after`.
    mutating func append(
        row image: RowImage, _ columns: Span<ColumnPlan>, _ templates: Span<UInt8>, _ scratch: inout Scratch
    ) throws(CellFailure) {
        for index in columns.indices {
            let plan = columns[index]
            append(templates.extracting(plan.template))
            let cell = image.cell(index)
            switch cell.kind {
            case .text: try append(cell, of: image, plan, &scratch)
            case .null: append("null")
            case .unchanged: append(unavailableBy: plan.rule)
            case .binary: throw CellFailure(column: index, reason: .binary)
            }
        }
        if columns.isEmpty { append(UInt8(ascii: "{")) }
        append(UInt8(ascii: "}"))
    }

    /// Appends a row's columns for the flat envelope: an open object, without those that the server left out. Returns
    /// whether there was an unchanged TOAST value.
    mutating func append(
        flatRow image: RowImage, _ columns: Span<ColumnPlan>, _ templates: Span<UInt8>, identityOnly: Bool,
        _ scratch: inout Scratch
    ) throws(CellFailure) -> Bool {
        var hasUnchanged = false
        var separator = UInt8(ascii: "{")
        for index in columns.indices {
            let plan = columns[index]
            let cell = image.cell(index)
            if identityOnly, !plan.isIdentity { continue }
            if cell.kind == .unchanged {
                hasUnchanged = true
                continue
            }
            append(separator)
            append(templates.extracting(plan.template.lowerBound + 1..<plan.template.upperBound))
            separator = UInt8(ascii: ",")
            switch cell.kind {
            case .text: try append(cell, of: image, plan, &scratch)
            case .null, .unchanged: append("null")
            case .binary: throw CellFailure(column: index, reason: .binary)
            }
        }
        append(separator)
        return hasUnchanged
    }

    /// Appends `,"_unchanged":[...]`: the names of the columns that the server left out.
    mutating func append(
        unchangedOf image: RowImage, _ columns: Span<ColumnPlan>, _ templates: Span<UInt8>
    ) {
        append(",\"_unchanged\":")
        var separator = UInt8(ascii: "[")
        for index in columns.indices where image.cell(index).kind == .unchanged {
            let template = columns[index].template
            append(separator)
            append(templates.extracting(template.lowerBound + 1..<template.upperBound - 1))
            separator = UInt8(ascii: ",")
        }
        append(UInt8(ascii: "]"))
    }

    /// Appends a row's key.
    mutating func append(
        key image: RowImage, _ key: Span<ColumnPlan>, _ templates: Span<UInt8>, _ scratch: inout Scratch
    ) throws(CellFailure) {
        for index in key.indices {
            let plan = key[index]
            append(templates.extracting(plan.template))
            let cell = image.cell(plan.column)
            switch cell.kind {
            case .text: try append(cell, of: image, plan, &scratch)
            case .null where plan.isNeverNull: throw CellFailure(column: plan.column, reason: .nullKey)
            case .null: append("null")
            case .unchanged: throw CellFailure(column: plan.column, reason: .unchangedKey)
            case .binary: throw CellFailure(column: plan.column, reason: .binary)
            }
        }
        append(UInt8(ascii: "}"))
    }

    @inline(__always)
    private mutating func append(
        _ cell: Cell, of image: RowImage, _ plan: ColumnPlan, _ scratch: inout Scratch
    ) throws(CellFailure) {
        do throws(ValueFailure) {
            try append(value: image.message.extracting(cell.range), by: plan.rule, &scratch)
        } catch {
            throw CellFailure(column: plan.column, reason: error)
        }
    }
}
