import ChangeData

/// Reads one row of a catalog query into values. A value that is missing or malformed where there must be one is an error, not a trap.
struct CatalogRow {
    let rows: Rows
    let index: Int

    func optional(_ column: String) -> String? { rows[index, column] }

    func text(_ column: String) throws(PostgresError) -> String {
        guard let value = rows[index, column] else {
            throw PostgresError(.fatal, "a catalog query gave no value for \(column)")
        }
        return value
    }

    /// Whether a name is what the server holds. One that is not UTF-8 is nobody's, and must not be quoted back: as it is read, it
    /// may be another one's.
    func isExact(_ column: String) -> Bool { rows.isExact(row: index, column: column) }

    func bool(_ column: String) throws(PostgresError) -> Bool { try text(column) == "t" }

    func integer<I: FixedWidthInteger>(_ column: String) throws(PostgresError) -> I {
        let value = try text(column)
        guard let number = I(value) else {
            throw PostgresError(.fatal, "a catalog query gave \(value) for \(column), which is no number in range")
        }
        return number
    }

    func optionalInteger<I: FixedWidthInteger>(_ column: String) -> I? { optional(column).flatMap { I($0) } }

    func lsn(_ column: String) -> LSN? { optional(column).flatMap { LSN($0) } }
}

extension Rows {
    /// Every row through `make`.
    func map<T>(_ make: (CatalogRow) throws(PostgresError) -> T) throws(PostgresError) -> [T] {
        var result: [T] = []
        result.reserveCapacity(count)
        for index in 0..<count { result.append(try make(CatalogRow(rows: self, index: index))) }
        return result
    }
}

/// `{1,2,3}`: a list of OIDs as one parameter.
func arrayLiteral(_ oids: some Sequence<UInt32>) -> String {
    "{" + oids.map(String.init).joined(separator: ",") + "}"
}
