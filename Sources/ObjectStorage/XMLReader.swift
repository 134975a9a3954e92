/// An element of an answer: text and children, without attributes.
struct XMLElement: Equatable {
    let name: String
    var text = ""
    var children: [XMLElement] = []

    /// The text of the first child of that name.
    subscript(name: String) -> String? { children.first { $0.name == name }?.text }
}

/// Why a document is not one, and where.
struct XMLError: Error, Equatable {
    let reason: String
    let offset: Int
}

/// Reads the XML that S3 answers with, and no more of XML than that: elements, text, the five entities, character
/// references, CDATA, comments, a declaration. No DTD, hence no entity of the document's own; namespaces are ignored.
/// Total: any bytes give an element or an error, and the depth is bounded.
struct XMLReader {
    private static let maxDepth = 16

    private let bytes: [UInt8]
    private var position = 0
    private var open: [XMLElement] = []
    private var root: XMLElement?

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The root element of a complete document.
    static func read(_ bytes: [UInt8]) throws(XMLError) -> XMLElement {
        var reader = XMLReader(bytes)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { reader.position = 3 }
        while reader.position < bytes.count { try reader.item() }
        guard let root = reader.root, reader.open.isEmpty else { throw reader.error("the document is cut") }
        return root
    }

    private func error(_ reason: String) -> XMLError { XMLError(reason: reason, offset: position) }

    private func follows(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes[position...].starts(with: $0) }
    }

    /// Moves past the next occurrence of `text`, and gives what was before it.
    private mutating func take(until text: StaticString) throws(XMLError) -> ArraySlice<UInt8> {
        let start = position
        while position < bytes.count {
            if follows(text) {
                defer { position += text.utf8CodeUnitCount }
                return bytes[start..<position]
            }
            position += 1
        }
        throw error("the document is cut")
    }

    private mutating func item() throws(XMLError) {
        if bytes[position] != UInt8(ascii: "<") { return try text() }
        if follows("<?") {
            _ = try take(until: "?>")
        } else if follows("<!--") {
            position += 4
            _ = try take(until: "-->")
        } else if follows("<![CDATA[") {
            position += 9
            try append(decoded(try take(until: "]]>")))
        } else if follows("<!") {
            throw error("a document type is not accepted")
        } else if follows("</") {
            position += 2
            try close(try take(until: ">"))
        } else {
            position += 1
            try start(try take(until: ">"))
        }
    }

    private func decoded(_ slice: ArraySlice<UInt8>) throws(XMLError) -> String {
        guard let text = String(validating: slice, as: UTF8.self) else { throw error("not UTF-8") }
        return text
    }

    private mutating func append(_ text: String) throws(XMLError) {
        if open.isEmpty { throw error("text outside of the root element") }
        open[open.count - 1].text += text
    }

    private mutating func text() throws(XMLError) {
        let start = position
        while position < bytes.count, bytes[position] != UInt8(ascii: "<") { position += 1 }
        let slice = bytes[start..<position]
        if open.isEmpty {
            guard slice.allSatisfy(isSpace) else { throw error("text outside of the root element") }
            return
        }
        try append(try entities(in: slice))
    }

    private mutating func start(_ tag: ArraySlice<UInt8>) throws(XMLError) {
        guard root == nil else { throw error("a second root element") }
        let isEmpty = tag.last == UInt8(ascii: "/")
        let content = isEmpty ? tag.dropLast() : tag
        // Attributes are skipped: a `>` inside a quoted value, which S3 never writes, ends in a mismatch, not in a trap.
        let name = try decoded(content.prefix { !isSpace($0) })
        guard !name.isEmpty, !name.contains("<") else { throw error("a tag without a name") }
        guard open.count < XMLReader.maxDepth else { throw error("nested too deep") }
        open.append(XMLElement(name: name))
        if isEmpty { finish() }
    }

    private mutating func close(_ tag: ArraySlice<UInt8>) throws(XMLError) {
        let name = try decoded(tag.prefix { !isSpace($0) })
        guard open.last?.name == name else { throw error("an end tag without its start") }
        finish()
    }

    private mutating func finish() {
        guard let element = open.popLast() else { return }
        if open.isEmpty { root = element } else { open[open.count - 1].children.append(element) }
    }

    private func entities(in slice: ArraySlice<UInt8>) throws(XMLError) -> String {
        guard slice.contains(UInt8(ascii: "&")) else { return try decoded(slice) }
        var result = ""
        var rest = slice
        while let start = rest.firstIndex(of: UInt8(ascii: "&")) {
            result += try decoded(rest[..<start])
            // The longest entity is `&#x10FFFF;`; leading zeros are allowed a little.
            guard let end = rest[start...].prefix(16).firstIndex(of: UInt8(ascii: ";")),
                let scalar = XMLReader.scalar(String(decoding: rest[(start + 1)..<end], as: UTF8.self))
            else { throw error("an unknown entity") }
            result.unicodeScalars.append(scalar)
            rest = rest[(end + 1)...]
        }
        return result + (try decoded(rest))
    }

    private static func scalar(_ entity: String) -> UnicodeScalar? {
        switch entity {
        case "amp": return "&"
        case "lt": return "<"
        case "gt": return ">"
        case "quot": return "\""
        case "apos": return "'"
        default:
            // `UInt32(_:radix:)` takes a sign, which XML does not.
            let isHex = entity.hasPrefix("#x")
            let digits = entity.dropFirst(isHex ? 2 : 1)
            guard entity.hasPrefix("#"), digits.allSatisfy(\.isHexDigit) else { return nil }
            return UInt32(digits, radix: isHex ? 16 : 10).flatMap(UnicodeScalar.init)
        }
    }
}

private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }
