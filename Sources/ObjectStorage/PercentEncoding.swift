/// Percent-encoding as SigV4 wants it: all but `A-Z a-z 0-9 - . _ ~`, in upper case.
/// (AWS, "Create a signed AWS API request", UriEncode.)
enum PercentEncoding {
    /// - Parameter keepsSlash: true in paths, false in the names and values of a query.
    static func encode(_ text: String, keepsSlash: Bool) -> String {
        var result: [UInt8] = []
        result.reserveCapacity(text.utf8.count)
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.append(byte)
            case UInt8(ascii: "/") where keepsSlash:
                result.append(byte)
            default:
                result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// As a server spells it that decodes the URL before it verifies: all stays as it is but what would change the URL's
    /// meaning. (werkzeug's `uri_to_iri`, hence moto.)
    static func encodeLoosely(_ text: String, isQuery: Bool) -> String {
        let kept = Set((isQuery ? "%&=+#" : "%?#").utf8)
        var result: [UInt8] = []
        for byte in text.utf8 {
            if byte <= 0x20 || byte == 0x7F || kept.contains(byte) {
                result += Array(encode(String(decoding: [byte], as: UTF8.self), keepsSlash: false).utf8)
            } else {
                result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// Decodes `encoding-type=url` of a listing, where a space is a `+`. nil if it is malformed or not UTF-8.
    static func decodeForm(_ text: String) -> String? {
        var result: [UInt8] = []
        var rest = text.utf8.makeIterator()
        while let byte = rest.next() {
            switch byte {
            case UInt8(ascii: "+"):
                result.append(UInt8(ascii: " "))
            case UInt8(ascii: "%"):
                guard let high = rest.next().flatMap(digit), let low = rest.next().flatMap(digit) else { return nil }
                result.append(high << 4 | low)
            default:
                result.append(byte)
            }
        }
        return String(validating: result, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        Character(UnicodeScalar(byte)).hexDigitValue.map { UInt8($0) }
    }
}

/// Keys are bytes: Swift's own comparison of strings takes composed and decomposed letters for the same.
enum KeyOrder {
    static func precedes(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    static func equal(_ left: String, _ right: String) -> Bool { left.utf8.elementsEqual(right.utf8) }

    static func starts(_ text: String, with prefix: String) -> Bool { text.utf8.starts(with: prefix.utf8) }

    /// `text` without its first `count` bytes of UTF-8.
    static func dropping(_ count: Int, of text: String) -> String {
        String(decoding: text.utf8.dropFirst(count), as: UTF8.self)
    }
}
