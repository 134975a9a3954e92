import ChangeData
import Postgres

/// Reads a table as of a snapshot, in the very JSON that the stream writes: each row goes through the stream's own encoder, as
/// the Insert message that pgoutput would send for it.
struct TableReader {
    /// Why a table cannot be read as the stream would write it.
    enum Failure: Error {
        case postgres(PostgresError)
        case encoding(ChangeDataError)
        case fold(TableFold.Malformed)
    }

    let table: TableFacts
    let settings: StreamSettings

    /// The columns of the key, in the order of its definition.
    var keyColumns: [String] {
        let columns: [String]? =
            switch table.replicaIdentity {
            case .full: table.primaryKey?.columns
            default: table.identityColumns
            }
        return columns ?? table.primaryKey?.columns ?? []
    }

    /// A fold of this table that holds nothing yet.
    var emptyFold: TableFold { TableFold(keyColumns: keyColumns.map(Self.escaped)) }

    /// What a table holds. Held in memory as a whole.
    struct Contents {
        /// The rows by key.
        var rows: [[UInt8]: [UInt8]] = [:]
        /// Why rows have no JSON, each; the stream stops at such a row, or sends it to the dead-letter topic.
        var unrepresentable: [ChangeDataError] = []

        var count: Int { rows.count + unrepresentable.count }
    }

    func contents(_ connection: inout PostgresConnection) throws(Failure) -> Contents {
        var unrepresentable: [ChangeDataError] = []
        var encoder = try makeEncoder(&connection)
        let chunk = RecordChunk(capacity: 64 << 10)
        var fold = emptyFold
        let columns = published.map { Quoting.identifier($0.name) }.joined(separator: ", ")
        try postgres { () throws(PostgresError) in
            try connection.startRows("SELECT \(columns) FROM \(Quoting.qualified(table.schema, table.name))")
        }
        while let row = try postgres({ () throws(PostgresError) in try connection.nextRow() }) {
            let message = insert(row)
            if case .setAside(let why) = try encode(message, &encoder, chunk) {
                unrepresentable.append(why)
                chunk.removeAll()
                continue
            }
            for record in chunk.records {
                guard let range = record.value else { continue }
                let value = chunk.withBytes { bytes in range.map { bytes[$0] } }
                do throws(TableFold.Malformed) { try fold.apply(value) } catch { throw .fold(error) }
            }
            chunk.removeAll()
        }
        return Contents(rows: fold.rows, unrepresentable: unrepresentable)
    }

    /// The columns that pgoutput sends: generated ones are left out.
    private var published: [ColumnFacts] { table.columns.filter { $0.generated == .never } }

    private func makeEncoder(_ connection: inout PostgresConnection) throws(Failure) -> ChangeEncoder {
        let oids = Set(published.map(\.typeOID).filter { $0 >= 16_384 })
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
            try encoder.define(relation, as: description)
        } catch { throw .encoding(error) }
        return encoder
    }

    private var relation: Relation {
        Relation(
            oid: table.oid, table: TableName(schema: table.schema, name: table.name), replicaIdentity: .default,
            columns: published.map { column in
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
