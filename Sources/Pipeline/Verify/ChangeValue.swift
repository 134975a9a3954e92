/// A record's value, read as far as folding needs it.
struct ChangeValue {
    enum Operation { case write, delete, truncate }

    var operation: Operation
    /// The row's LSN.
    var lsn: UInt64
    /// The row after a write, before a delete: an object of columns. Empty for a truncate.
    var row: [UInt8]
    /// The names of columns whose value was left out as unchanged (`flat`).
    var unchanged: [[UInt8]]

    /// Reads either envelope; nil for a logical message, and throws nothing: `malformed` says that it is neither.
    enum Reading {
        case change(ChangeValue)
        case message
        case malformed
    }

    static func read(_ bytes: [UInt8]) -> Reading {
        guard let members = JSONMembers(bytes) else { return .malformed }
        if let op = members.text(of: "_op") { return flat(members, op) }
        guard let op = members.text(of: "op"), let source = members.value(of: "source"),
            let lsn = JSONMembers(bytes, in: source)?.text(of: "lsn").flatMap(number)
        else { return .malformed }
        switch Array(op) {
        case quoted("m"): return .message
        case quoted("t"): return .change(ChangeValue(operation: .truncate, lsn: lsn, row: [], unchanged: []))
        case quoted("d"):
            guard let row = members.text(of: "before") else { return .malformed }
            return .change(ChangeValue(operation: .delete, lsn: lsn, row: Array(row), unchanged: []))
        default:
            guard let row = members.text(of: "after") else { return .malformed }
            return .change(ChangeValue(operation: .write, lsn: lsn, row: Array(row), unchanged: []))
        }
    }

    private static func flat(_ members: JSONMembers, _ op: ArraySlice<UInt8>) -> Reading {
        guard let text = members.text(of: "_lsn"), let lsn = lsn(text) else { return .malformed }
        var row: [UInt8] = [UInt8(ascii: "{")]
        let own = ["_op", "_lsn", "_commit_ts", "_xid", "_seq", "_unchanged"].map { Array($0.utf8) }
        for member in members.members where !own.contains(where: { members.bytes[member.name].elementsEqual($0) }) {
            if row.count > 1 { row.append(UInt8(ascii: ",")) }
            row += members.bytes[member.name.lowerBound - 1..<member.value.upperBound]
        }
        row.append(UInt8(ascii: "}"))
        var unchanged: [[UInt8]] = []
        if let list = members.value(of: "_unchanged") {
            var scanner = JSONScanner(bytes: members.bytes, offset: list.lowerBound + 1, end: list.upperBound)
            while let name = scanner.string() {
                unchanged.append(Array(members.bytes[name.lowerBound + 1..<name.upperBound - 1]))
                _ = scanner.take(UInt8(ascii: ","))
            }
        }
        switch Array(op) {
        case quoted("m"): return .message
        case quoted("t"): return .change(ChangeValue(operation: .truncate, lsn: lsn, row: [], unchanged: []))
        case quoted("d"): return .change(ChangeValue(operation: .delete, lsn: lsn, row: row, unchanged: []))
        default: return .change(ChangeValue(operation: .write, lsn: lsn, row: row, unchanged: unchanged))
        }
    }

    private static func quoted(_ text: String) -> [UInt8] { Array("\"\(text)\"".utf8) }

    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        UInt64(String(decoding: digits, as: UTF8.self))
    }

    /// A number, or PostgreSQL's spelling in quotes.
    private static func lsn(_ text: ArraySlice<UInt8>) -> UInt64? {
        if let number = number(text) { return number }
        let parts = String(decoding: text.dropFirst().dropLast(), as: UTF8.self).split(separator: "/")
        guard parts.count == 2, let high = UInt64(parts[0], radix: 16), let low = UInt64(parts[1], radix: 16) else {
            return nil
        }
        return high << 32 | low
    }
}
