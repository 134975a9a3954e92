import ChangeData
import Foundation
import ObjectStorage

/// The golden recordings beside this file, or where SLUICE_GOLDEN says.
enum Fixtures {
    private struct Line: Decodable {
        var lsn: String
        var data: String
    }

    struct DebeziumRecord: Decodable {
        var key_raw: String?
        var value_raw: String?
        var headers: [String: String]?
        var offset: Int
    }

    static let folder: URL = {
        if let path = ProcessInfo.processInfo.environment["SLUICE_GOLDEN"] { return URL(fileURLWithPath: path) }
        return URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures")
    }()

    static func messages(_ file: String) throws -> [Message] {
        try lines(file, as: Line.self).map { line in
            Message(lsn: LSN(line.lsn) ?? LSN(0), bytes: bytes(line.data))
        }
    }

    /// Every topic but that of Debezium's transactions, which sluice does not write.
    static func debezium() throws -> [String: [DebeziumRecord]] {
        let directory = folder.appendingPathComponent("debezium")
        var topics: [String: [DebeziumRecord]] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() {
            guard name.hasSuffix(".ndjson"), name != "transaction.ndjson" else { continue }
            topics[String(name.dropLast(7))] = try lines("debezium/\(name)", as: DebeziumRecord.self)
        }
        return topics
    }

    private static func lines<T: Decodable>(_ file: String, as type: T.Type) throws -> [T] {
        var data = try Data(contentsOf: folder.appendingPathComponent(file))
        if file.hasSuffix(".gz") {
            var decompressor = try Decompressor(.gzip)
            var plain = Data()
            try decompressor.update(Array(data).span) { piece in
                piece.withUnsafeBufferPointer { plain.append(contentsOf: $0) }
            }
            try decompressor.finish()
            data = plain
        }
        return try data.split(separator: UInt8(ascii: "\n")).map { try JSONDecoder().decode(type, from: Data($0)) }
    }

    static func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = Array(hexadecimal.utf8).map { UInt8($0 < 0x3A ? $0 - 0x30 : $0 - 0x57) }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
}
