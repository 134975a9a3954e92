/// What stands in `.<object>.meta`: the user's metadata as a flat JSON object of strings, and beside it our own facts, whose
/// names begin with `_`, which no metadata's name does.
struct FileMetadata: Equatable {
    /// The hidden name under which the writer's body lies until it is linked to the object's own name.
    var body: String
    /// SHA-256 of the stored bytes, in hexadecimal.
    var etag: String
    var contentType: String
    var contentEncoding: String?
    var metadata: [(String, String)]

    static func == (left: FileMetadata, right: FileMetadata) -> Bool { left.json == right.json }

    /// Sorted, so that the same metadata is the same bytes.
    var json: [UInt8] {
        var fields = [("_body", body), ("_etag", etag), ("_type", contentType)]
        if let contentEncoding { fields.append(("_encoding", contentEncoding)) }
        fields += metadata.sorted { KeyOrder.precedes($0.0, $1.0) }
        let lines = fields.map { "\(FileMetadata.quoted($0.0)):\(FileMetadata.quoted($0.1))" }
        return Array("{\(lines.joined(separator: ","))}\n".utf8)
    }

    init(body: String, etag: String, contentType: String, contentEncoding: String?, metadata: [(String, String)]) {
        self.body = body
        self.etag = etag
        self.contentType = contentType
        self.contentEncoding = contentEncoding
        self.metadata = metadata
    }

    /// nil if it is anything but what `json` writes (white space may differ).
    init?(json: [UInt8]) {
        guard let text = String(validating: json, as: UTF8.self) else { return nil }
        var scanner = FlatJSONScanner(text.unicodeScalars[...])
        guard let fields = scanner.object() else { return nil }
        var own: [String: String] = [:]
        metadata = []
        for (name, value) in fields {
            if name.hasPrefix("_") { own[name] = value } else { metadata.append((name, value)) }
        }
        guard let body = own["_body"], let etag = own["_etag"], let type = own["_type"] else { return nil }
        (self.body, self.etag, contentType, contentEncoding) = (body, etag, type, own["_encoding"])
    }

    /// Values are printable ASCII (checked by `ObjectKey`), names of bodies any UTF-8 without control characters.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for character in text.unicodeScalars {
            if character == "\"" || character == "\\" { result += "\\" }
            result.unicodeScalars.append(character)
        }
        return result + "\""
    }
}

/// Reads one JSON object whose values are strings, to the end of the text. Total.
private struct FlatJSONScanner {
    private var rest: Substring.UnicodeScalarView

    init(_ text: Substring.UnicodeScalarView) { rest = text }

    mutating func object() -> [(String, String)]? {
        var fields: [(String, String)] = []
        guard take("{") else { return nil }
        if !take("}") {
            repeat {
                guard let name = string(), take(":"), let value = string() else { return nil }
                fields.append((name, value))
            } while take(",")
            guard take("}") else { return nil }
        }
        skipSpace()
        return rest.isEmpty ? fields : nil
    }

    private mutating func skipSpace() { rest = rest.drop { " \t\r\n".unicodeScalars.contains($0) } }

    private mutating func take(_ scalar: UnicodeScalar) -> Bool {
        skipSpace()
        guard rest.first == scalar else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func string() -> String? {
        guard take("\"") else { return nil }
        var result = ""
        while let scalar = rest.popFirst() {
            switch scalar {
            case "\"": return result
            case "\\":
                // The writer escapes these two alone.
                guard let escaped = rest.popFirst(), escaped == "\"" || escaped == "\\" else { return nil }
                result.unicodeScalars.append(escaped)
            case _ where scalar.value < 0x20: return nil
            default: result.unicodeScalars.append(scalar)
            }
        }
        return nil
    }
}
