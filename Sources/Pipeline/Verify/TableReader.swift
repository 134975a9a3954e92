import ChangeData
import LocalStorage
import Postgres

/// Reads a table as of a snapshot, in the very JSON that the stream writes: each row goes through the stream's own encoder, as
/// the Insert message that pgoutput would send for it.
struct TableReader {
    /// Why a table cannot be read as the stream would write it.
    enum Failure: Error {
        case postgres(PostgresError)
        case encoding(ChangeDataError)
        case fold(TableFold.Failure)
    }

    let table: TableFacts
    let settings: StreamSettings

    var title: String { "\(table.schema).\(table.name)" }

    /// The columns of the key, in the order of its definition.
    var keyColumns: [String] {
        let columns: [String]? =
            switch table.replicaIdentity {
            case .full: table.primaryKey?.columns
            default: table.identityColumns
            }
        return columns ?? table.primaryKey?.columns ?? []
    }

    /// Whether the table, as it is described now, is read as the one that was found.
    func reads(_ now: TableFacts) -> Bool {
        let other = TableReader(table: now, settings: settings)
        return other.title == title && now.kind == table.kind && now.columns == table.columns
            && other.keyColumns == keyColumns
    }

    /// A fold of this table that holds nothing yet.
    func emptyFold(on disk: DiskMap, number: Int) -> TableFold {
        TableFold(keyColumns: keyColumns.map(Self.escaped), on: disk, number: number)
    }

    /// What stands in one row of the table.
    enum Found {
        case row([UInt8])
        /// Why it has no JSON: the stream stops at such a row, or sends it to the dead-letter topic.
        case unrepresentable(ChangeDataError)
    }

    /// Shows each row that is published.
    func forEachRow(
        _ connection: inout PostgresConnection, of publication: Publication?,
        _ body: (Found) throws(TableFold.Failure) -> Void
    ) throws(Failure) {
        let published = publication?.tables.first { $0.oid == table.oid }
        let columns = columns(
            listed: published?.columns, withGenerated: publication?.publishesGeneratedColumns ?? false,
            version: connection.serverVersion)
        let filter = try postgres { () throws(PostgresError) in
            published?.isFiltered == true
                ? try connection.rowFilter(of: table.oid, in: settings.publication) : nil
        }
        var encoder = try makeEncoder(&connection, columns)
        let chunk = RecordChunk(capacity: 64 << 10)
        let query = Self.query(table, columns: columns.map(\.name), filter: filter)
        try postgres { () throws(PostgresError) in try connection.startRows(query) }
        while let row = try postgres({ () throws(PostgresError) in try connection.nextRow() }) {
            let message = insert(row)
            let step = try encode(message, &encoder, chunk)
            do throws(TableFold.Failure) {
                if case .setAside(let why) = step {
                    try body(.unrepresentable(why))
                } else {
                    try show(chunk, body)
                }
            } catch { throw .fold(error) }
            chunk.removeAll()
        }
    }

    private func show(
        _ chunk: RecordChunk, _ body: (Found) throws(TableFold.Failure) -> Void
    ) throws(TableFold.Failure) {
        for record in chunk.records {
            guard let range = record.value else { continue }
            let value = chunk.withBytes { bytes in range.map { bytes[$0] } }
            guard case .change(let change) = ChangeValue.read(value, epoch: 0) else {
                throw .malformed("a row of the table has no envelope")
            }
            try body(.row(change.row))
        }
    }

    /// The rows that are published. A table that others inherit from has only its own.
    static func query(_ table: TableFacts, columns: [String], filter: String?) -> String {
        let name = Quoting.qualified(table.schema, table.name)
        return "SELECT " + columns.map(Quoting.identifier).joined(separator: ", ")
            + (table.kind == .table ? " FROM ONLY " : " FROM ") + name + (filter.map { " WHERE \($0)" } ?? "")
    }

    /// The columns that pgoutput sends: those that the publication lists, else all. Generated ones only from 18 on: stored ones that are
    /// listed, or where the publication says so.
    private func columns(listed: [String]?, withGenerated: Bool, version: Int) -> [ColumnFacts] {
        table.columns.filter { column in
            guard column.generated == .never || version >= 180_000 && column.generated == .stored else { return false }
            return listed.map { $0.contains(column.name) } ?? (column.generated == .never || withGenerated)
        }
    }

    private func makeEncoder(
        _ connection: inout PostgresConnection, _ columns: [ColumnFacts]
    ) throws(Failure) -> ChangeEncoder {
        let oids = Set(columns.map(\.typeOID).filter { $0 >= PostgresType.firstDescribed })
        let types = oids.isEmpty ? [] : try postgres { () throws(PostgresError) in try connection.types(oids: oids) }
        var format = settings.format
        // Whether the stream has a topic for such rows or not; no topic of a table has this name.
        format.deadLetterTopic = "(dead letters)"
        var encoder = ChangeEncoder(format: format, resumingAt: LSN(0))
        let chunk = RecordChunk(capacity: 1024)
        _ = try encode(begin, &encoder, chunk)
        let description = RelationDescriber.description(
            primaryKey: table.primaryKey?.columns ?? [], identityIndex: table.identityIndex?.columns ?? [],
            types: types)
        do throws(ChangeDataError) {
            try encoder.define(relation(columns), as: description)
        } catch { throw .encoding(error) }
        return encoder
    }

    private func relation(_ columns: [ColumnFacts]) -> Relation {
        Relation(
            oid: table.oid, table: TableName(schema: table.schema, name: table.name), replicaIdentity: .default,
            columns: columns.map { column in
                Relation.Column(
                    name: column.name, typeOID: column.typeOID, modifier: column.typeModifier,
                    isKey: keyColumns.contains(column.name))
            })
    }

    /// A name as JSON escapes it.
    private static func escaped(_ name: String) -> [UInt8] {
        var buffer = ByteBuffer(capacity: name.utf8.count + 2)
        try? buffer.append(jsonString: Array(name.utf8).span)
        return buffer.withSpan { bytes in (1..<max(1, bytes.count - 1)).map { bytes[$0] } }
    }

    // MARK: Messages

    private var begin: [UInt8] {
        var message: [UInt8] = [UInt8(ascii: "B")]
        message += [UInt8](repeating: 0, count: 16)
        message += [0, 0, 0, 1]
        return message
    }

    /// An Insert: relation, `N`, the number of columns, and each as null or text.
    private func insert(_ row: borrowing Row) -> [UInt8] {
        var message: [UInt8] = [UInt8(ascii: "I")]
        append(table.oid, to: &message)
        message.append(UInt8(ascii: "N"))
        message += [UInt8(truncatingIfNeeded: row.count >> 8), UInt8(truncatingIfNeeded: row.count)]
        for column in 0..<row.count {
            guard let bytes = row.bytes(column) else {
                message.append(UInt8(ascii: "n"))
                continue
            }
            message.append(UInt8(ascii: "t"))
            append(UInt32(bytes.count), to: &message)
            for index in bytes.indices { message.append(bytes[index]) }
        }
        return message
    }

    private func append(_ number: UInt32, to message: inout [UInt8]) {
        for shift in [24, 16, 8, 0] { message.append(UInt8(truncatingIfNeeded: number >> UInt32(shift))) }
    }

    private func encode(
        _ message: [UInt8], _ encoder: inout ChangeEncoder, _ chunk: RecordChunk
    ) throws(Failure) -> Step {
        do throws(ChangeDataError) {
            return try encoder.consume(message.span, at: LSN(1), receivedAt: 0, into: chunk)
        } catch { throw .encoding(error) }
    }

    private func postgres<T: ~Copyable>(_ body: () throws(PostgresError) -> T) throws(Failure) -> T {
        do throws(PostgresError) { return try body() } catch { throw .postgres(error) }
    }
}
