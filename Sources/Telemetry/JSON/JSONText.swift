/// Writes JSON, in the order of the calls, without spaces.
package struct JSONText {
    package enum Scalar {
        case null, bool(Bool), integer(Int64), double(Double), string(String)
    }

    /// Which characters of a string are escaped beside those that JSON wants so.
    package enum Escaping {
        /// For lines and pages that are looked at: what acts on a terminal, or breaks lines, too.
        case shown
        /// As Kafka Connect's JsonConverter writes them, and so the records: characters beyond U+FFFF as pairs.
        case connect
    }

    package private(set) var text = ""
    private let escaping: Escaping
    private var needsComma = false

    package init(escaping: Escaping = .shown) { self.escaping = escaping }

    package mutating func value(_ scalar: Scalar) {
        separate()
        switch scalar {
        case .null: text += "null"
        case .bool(let flag): text += flag ? "true" : "false"
        case .integer(let number): text += "\(number)"
        // JSON has no word for them.
        case .double(let number): text += number.isFinite ? "\(number)" : "null"
        case .string(let string): quote(string)
        }
        needsComma = true
    }

    package mutating func member(_ key: String, _ scalar: Scalar) {
        name(key)
        value(scalar)
    }

    package mutating func member(_ key: String, _ string: String) { member(key, .string(string)) }

    package mutating func member(_ key: String, _ flag: Bool) { member(key, .bool(flag)) }

    /// A number of any width.
    package mutating func member(_ key: String, _ number: some BinaryInteger) {
        name(key)
        text += "\(number)"
        needsComma = true
    }

    package mutating func name(_ key: String) {
        separate()
        quote(key)
        text += ":"
        needsComma = false
    }

    package mutating func object(_ body: (inout JSONText) -> Void) { bracket("{", "}", body) }

    package mutating func array(_ body: (inout JSONText) -> Void) { bracket("[", "]", body) }

    /// A member that is an object.
    package mutating func object(_ key: String, _ body: (inout JSONText) -> Void) {
        name(key)
        object(body)
    }

    /// A member that is an array with an object for each item.
    package mutating func objects<Item>(
        _ key: String, of items: some Sequence<Item>, _ body: (inout JSONText, Item) -> Void
    ) {
        name(key)
        array { array in
            for item in items { array.object { body(&$0, item) } }
        }
    }

    private mutating func bracket(_ open: String, _ close: String, _ body: (inout JSONText) -> Void) {
        separate()
        text += open
        needsComma = false
        body(&self)
        text += close
        needsComma = true
    }

    private mutating func separate() {
        if needsComma { text += "," }
    }

    private mutating func quote(_ string: String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{8}" where escaping == .connect: text += "\\b"
            case "\u{C}" where escaping == .connect: text += "\\f"
            case _ where isEscaped(scalar): for unit in scalar.utf16 { escape(unit) }
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }

    private func isEscaped(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "\0"..."\u{1F}": true
        // C1 controls and the line separators: terminals act on the first, JavaScript and log shippers may break lines at the others.
        case "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}": escaping == .shown
        default: escaping == .connect && scalar.value > 0xFFFF
        }
    }

    private mutating func escape(_ unit: UInt16) {
        let digits = String(unit, radix: 16, uppercase: escaping == .connect)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    }
}
