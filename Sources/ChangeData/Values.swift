/// Memory that rendering a value needs for a moment, kept from row to row.
struct Scratch: ~Copyable {
    /// An array's element, its quotes undone.
    var element = ByteBuffer()
    var scalar = ScalarScratch()
}

struct ScalarScratch: ~Copyable {
    var text = ByteBuffer()
    var object = ByteBuffer()
    var nesting: [UInt8] = []
}

/// What Debezium writes in place of an unchanged TOAST value.
let unavailableValue: StaticString = "__debezium_unavailable_value"

extension ByteBuffer {
    /// Appends a column's text as JSON, by its rule.
    @inline(__always)
    mutating func append(value text: Span<UInt8>, by rule: ValueRule, _ scratch: inout Scratch) throws(ValueFailure) {
        if rule.isArray {
            try append(array: text, by: rule, &scratch)
        } else {
            try append(scalar: text, by: rule, &scratch.scalar)
        }
    }

    mutating func append(
        scalar text: Span<UInt8>, by rule: ValueRule, _ scratch: inout ScalarScratch
    ) throws(ValueFailure) {
        switch rule.kind {
        case .text: try append(jsonString: text)
        case .integer: try append(integer: text)
        case .float: try append(float: text)
        case .keyFloat: try append(keyFloat: text, &scratch.text)
        case .numeric: try append(numeric: text)
        case .numericNumber: try append(numericNumber: text)
        case .boolean: try append(boolean: text, isTrue: UInt8(ascii: "t"), isFalse: UInt8(ascii: "f"))
        case .money: try append(money: text)
        case .bytea: try append(bytea: text)
        case .date: try append(date: text)
        case .timestamp: try append(timestamp: text)
        case .timestamptz: try append(timestamptz: text, precision: Int(rule.precision))
        case .time: try append(time: text)
        case .timetz: try append(timetz: text)
        case .dateEpoch: try append(dateEpoch: text)
        case .timestampEpoch: try append(timestampEpoch: text)
        case .timeEpoch: try append(timeEpoch: text, hasZone: false)
        case .timetzEpoch: try append(timeEpoch: text, hasZone: true)
        case .interval: try append(interval: text)
        case .jsonInline: try append(json: text, &scratch.nesting)
        case .bit: try append(bits: text, &scratch.text)
        case .bitBoolean: try append(boolean: text, isTrue: UInt8(ascii: "1"), isFalse: UInt8(ascii: "0"))
        case .point: try append(point: text)
        case .hstore: try append(hstore: text, &scratch)
        }
    }

    /// Appends what stands for a TOAST value that did not change and that nothing says.
    mutating func append(unavailableBy rule: ValueRule) {
        if rule.isArray { append(UInt8(ascii: "[")) }
        append(UInt8(ascii: "\""))
        if rule.kind == .bytea, !rule.isArray {
            append("X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==")
        } else {
            append(unavailableValue)
        }
        append(UInt8(ascii: "\""))
        if rule.isArray { append(UInt8(ascii: "]")) }
    }
}

/// Whether bytes are exactly a text of the program.
func equal(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
    guard bytes.count == text.utf8CodeUnitCount else { return false }
    return text.withUTF8Buffer { other in
        for index in bytes.indices where unsafe bytes[index] != other[index] { return false }
        return true
    }
}

@inline(__always)
func isDigit(_ byte: UInt8) -> Bool {
    byte &- 0x30 < 10
}
