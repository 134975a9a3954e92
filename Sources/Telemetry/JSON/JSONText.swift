/// Writes JSON, in the order of the calls, without spaces.
struct JSONText {
    enum Scalar {
        case null, bool(Bool), integer(Int64), double(Double), string(String)
    }

    private(set) var text = ""
    private var needsComma = false

    mutating func value(_ scalar: Scalar) {
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

    mutating func member(_ key: String, _ scalar: Scalar) {
        name(key)
        value(scalar)
    }

    mutating func name(_ key: String) {
        separate()
        quote(key)
        text += ":"
        needsComma = false
    }

    mutating func object(_ body: (inout JSONText) -> Void) { bracket("{", "}", body) }

    mutating func array(_ body: (inout JSONText) -> Void) { bracket("[", "]", body) }

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
            // C1 controls and the line separators too: terminals act on the first, JavaScript and log shippers may break lines at the others.
            case "\0"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
