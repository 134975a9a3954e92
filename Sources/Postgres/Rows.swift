import CPostgres

/// The whole answer to a query, as text. For answers that fit in memory; see `PostgresConnection.startRows` for others.
public struct Rows: Sendable, Equatable {
    /// The columns' names, in order.
    public let columns: [String]
    /// The rows; a null is nil.
    public let values: [[String?]]
    /// The command's tag, such as `INSERT 0 1`.
    public let tag: String
    /// The values that are not UTF-8, which a database in SQL_ASCII may hold: they are read with U+FFFD in the place of bytes, and
    /// say nothing exact. By row and column.
    private let inexact: Set<[Int]>

    /// The number of rows.
    public var count: Int { values.count }
    /// Whether there are none.
    public var isEmpty: Bool { values.isEmpty }

    /// The value of a named column in a row; nil for a null and for a column that is not there.
    public subscript(row: Int, column: String) -> String? {
        columns.firstIndex(of: column).flatMap { values[row][$0] }
    }

    /// Whether what is read of a named column in a row is what the server holds.
    func isExact(row: Int, column: String) -> Bool {
        inexact.isEmpty || columns.firstIndex(of: column).map { !inexact.contains([row, $0]) } ?? true
    }
}

extension Rows {
    /// Copies a result.
    init(_ result: borrowing QueryResult) {
        let pointer = result.pointer
        let width = PQnfields(pointer)
        columns = (0..<width).map { PQfname(pointer, $0).map { String(cString: $0) } ?? "" }
        var inexact: Set<[Int]> = []
        values = (0..<PQntuples(pointer)).map { row in
            (0..<width).map { column in
                guard PQgetisnull(pointer, row, column) == 0, let text = PQgetvalue(pointer, row, column) else {
                    return nil
                }
                if let exact = String(validatingCString: text) { return exact }
                inexact.insert([Int(row), Int(column)])
                return String(cString: text)
            }
        }
        self.inexact = inexact
        tag = PQcmdStatus(pointer).map { String(cString: $0) } ?? ""
    }
}

/// One row of a streamed answer. It owns the row's memory; the spans that it lends live as long as it does.
public struct Row: ~Copyable {
    private let result: QueryResult

    init(_ result: consuming QueryResult) { self.result = result }

    /// The number of columns.
    public var count: Int { Int(PQnfields(result.pointer)) }

    /// The name of a column.
    public func name(_ column: Int) -> String {
        PQfname(result.pointer, Int32(column)).map { String(cString: $0) } ?? ""
    }

    /// A column's text as bytes, or nil for a null or a column that is not there.
    @_lifetime(borrow self)
    public func bytes(_ column: Int) -> Span<UInt8>? {
        guard let value = value(column) else { return nil }
        // Sound: the memory is the result's, which lives as long as self.
        return _overrideLifetime(Span(_unsafeElements: value), borrowing: self)
    }

    /// A column's text, or nil for a null or a column that is not there.
    public func text(_ column: Int) -> String? {
        guard let value = value(column) else { return nil }
        return String(decoding: value, as: UTF8.self)
    }

    private func value(_ column: Int) -> UnsafeBufferPointer<UInt8>? {
        guard column >= 0, column < count, PQgetisnull(result.pointer, 0, Int32(column)) == 0,
            let start = PQgetvalue(result.pointer, 0, Int32(column))
        else { return nil }
        let length = Int(PQgetlength(result.pointer, 0, Int32(column)))
        return UnsafeBufferPointer(start: UnsafeRawPointer(start).assumingMemoryBound(to: UInt8.self), count: length)
    }
}
