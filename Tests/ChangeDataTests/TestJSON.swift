/// JSON for tests: strict, keeps the order and the spelling of everything. Strings are raw: what stands between the
/// quotes, escapes and all, so that equal means equal bytes.
indirect enum TestJSON: Equatable, CustomStringConvertible {
    case null
    case bool(Bool)
    case number(String)
    case string(String)
    case array([TestJSON])
    case object([Member])

    struct Member: Equatable {
        var name: String
        var value: TestJSON
    }

    struct Invalid: Error, CustomStringConvertible {
        var description: String
    }

    init(_ text: String) throws {
        var parser = Parser(bytes: Array(text.utf8))
        self = try parser.value()
        guard parser.offset == parser.bytes.count else { throw Invalid(description: "trailing bytes in \(text)") }
    }

    subscript(_ name: String) -> TestJSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    var names: [String] {
        guard case .object(let members) = self else { return [] }
        return members.map(\.name)
    }

    var description: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .number(let text): text
        case .string(let text): "\"\(text)\""
        case .array(let elements): "[" + elements.map(\.description).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.map { "\"\($0.name)\":\($0.value)" }.joined(separator: ",") + "}"
        }
    }

    /// Equal, with numbers compared as numbers: integers exactly, others as doubles or, where they only agree as such,
    /// as singles (real).
    func matches(_ other: TestJSON) -> Bool {
        switch (self, other) {
        case (.number(let left), .number(let right)):
            if left == right { return true }
            let isInteger = { (text: String) in !text.contains { ".eE".contains($0) } }
            if isInteger(left) || isInteger(right) { return false }
            if let left = Double(left), let right = Double(right), left == right { return true }
            if let left = Float(left), let right = Float(right) { return left == right }
            return false
        case (.array(let left), .array(let right)):
            return left.count == right.count && zip(left, right).allSatisfy { $0.matches($1) }
        case (.object(let left), .object(let right)):
            return left.count == right.count
                && zip(left, right).allSatisfy { $0.name == $1.name && $0.value.matches($1.value) }
        default: return self == other
        }
    }

    private struct Parser {
        let bytes: [UInt8]
        var offset = 0

        func fail(_ what: String) -> Invalid {
            Invalid(description: "\(what) at \(offset) of \(String(decoding: bytes, as: UTF8.self).prefix(300))")
        }

        mutating func expect(_ text: String) throws {
            for byte in text.utf8 {
                guard offset < bytes.count, bytes[offset] == byte else { throw fail("no \(text)") }
                offset += 1
            }
        }

        mutating func value() throws -> TestJSON {
            guard offset < bytes.count else { throw fail("no value") }
            switch bytes[offset] {
            case UInt8(ascii: "n"):
                try expect("null")
                return .null
            case UInt8(ascii: "t"):
                try expect("true")
                return .bool(true)
            case UInt8(ascii: "f"):
                try expect("false")
                return .bool(false)
            case UInt8(ascii: "\""): return .string(try string())
            case UInt8(ascii: "["):
                offset += 1
                var elements: [TestJSON] = []
                if bytes[offset] == UInt8(ascii: "]") {
                    offset += 1
                    return .array([])
                }
                while true {
                    elements.append(try value())
                    guard offset < bytes.count else { throw fail("open array") }
                    if bytes[offset] == UInt8(ascii: "]") { break }
                    try expect(",")
                }
                offset += 1
                return .array(elements)
            case UInt8(ascii: "{"):
                offset += 1
                var members: [Member] = []
                if offset < bytes.count, bytes[offset] == UInt8(ascii: "}") {
                    offset += 1
                    return .object([])
                }
                while true {
                    let name = try string()
                    try expect(":")
                    members.append(Member(name: name, value: try value()))
                    guard offset < bytes.count else { throw fail("open object") }
                    if bytes[offset] == UInt8(ascii: "}") { break }
                    try expect(",")
                }
                offset += 1
                return .object(members)
            default: return .number(try number())
            }
        }

        mutating func string() throws -> String {
            try expect("\"")
            let start = offset
            while offset < bytes.count, bytes[offset] != UInt8(ascii: "\"") {
                guard bytes[offset] >= 0x20 else { throw fail("control character") }
                offset += bytes[offset] == UInt8(ascii: "\\") ? 2 : 1
            }
            guard offset < bytes.count else { throw fail("open string") }
            guard let text = String(validating: bytes[start..<offset], as: UTF8.self) else { throw fail("not UTF-8") }
            offset += 1
            return text
        }

        mutating func number() throws -> String {
            let start = offset
            while offset < bytes.count, "+-.eE0123456789".utf8.contains(bytes[offset]) { offset += 1 }
            let text = String(decoding: bytes[start..<offset], as: UTF8.self)
            let pattern = #/-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/#
            guard text.wholeMatch(of: pattern) != nil else { throw fail("no number") }
            return text
        }
    }
}
