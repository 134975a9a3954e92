import ChangeData

/// One message as a recording or a test has it.
struct Message {
    var lsn: LSN
    var bytes: [UInt8]
}

/// A record, taken out of a chunk.
struct Output: Equatable {
    var topic: String
    var operation: ChangeData.Operation
    var key: String?
    var value: String?
    var position: String
    var linkName: String?
    var link: String?
}

/// Runs an encoder over messages, as the streaming loop does.
final class Session {
    var encoder: ChangeEncoder
    let chunk = RecordChunk(capacity: 4096)
    var errors: [ChangeDataError] = []
    var steps: [Step] = []
    /// What the catalog says of a relation that is announced.
    let describe: (Relation) -> TableDescription

    init(
        _ format: EventFormat = .test, resumingAt: LSN = LSN(0), skipping: EventPosition? = nil,
        committedAt: Int64? = nil,
        describe: @escaping (Relation) -> TableDescription = { _ in TableDescription(primaryKey: ["id"]) }
    ) {
        encoder = ChangeEncoder(
            format: format, resumingAt: resumingAt, skipping: skipping, committedAt: committedAt)
        self.describe = describe
    }

    /// Feeds a message; errors are kept, and the records it gave returned.
    @discardableResult
    func feed(_ message: Message, receivedAt: Int64 = 1_700_000_000_123_456_789) -> [Output] {
        let before = chunk.recordCount
        do throws(ChangeDataError) {
            let step = try encoder.consume(
                message.bytes.span, at: message.lsn, receivedAt: receivedAt, into: chunk)
            steps.append(step)
            if case .describe(let relation) = step { try encoder.define(relation, as: describe(relation)) }
        } catch {
            errors.append(error)
        }
        return outputs(from: before)
    }

    /// The error that a message's first bytes give; nil when they pass for a message.
    func cut(_ message: Message, to length: Int) -> ChangeDataError? {
        do throws(ChangeDataError) {
            _ = try encoder.consume(
                message.bytes.span.extracting(first: length), at: message.lsn, receivedAt: 0, into: chunk)
            return nil
        } catch {
            return error
        }
    }

    func outputs(from start: Int = 0) -> [Output] {
        chunk.records[start...].map { record in
            Output(
                topic: encoder.topics[record.topic], operation: record.operation, key: record.key.map { text($0) },
                value: record.value.map { text($0) }, position: text(record.position),
                linkName: record.link.map { _ in "\(record.linkName)" }, link: record.link.map { text($0) })
        }
    }

    private func text(_ range: Range<Int>) -> String {
        chunk.withBytes { bytes in
            var part: [UInt8] = []
            for index in range { part.append(bytes[index]) }
            return String(validating: part, as: UTF8.self) ?? "(not UTF-8)"
        }
    }
}

extension EventFormat {
    /// The golden recording's names, and Debezium's version, so that texts may be compared.
    static var test: EventFormat {
        EventFormat(name: "golden", database: "golden", version: "3.6.3.Final", epoch: 1)
    }
}
