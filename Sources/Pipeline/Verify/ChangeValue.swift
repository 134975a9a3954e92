/// A record's value, read as far as folding needs it.
struct ChangeValue {
    enum Operation { case create, update, delete, truncate }

    /// Where a change stands among those of its table: the row's LSN, or (`flat`) the commit's LSN and the ordinal, within its
    /// epoch. The two records of a changed key have the same.
    struct Place: Hashable, Comparable {
        var epoch: UInt32
        var lsn: UInt64
        var ordinal: UInt64 = 0
        static func < (one: Place, other: Place) -> Bool {
            (one.epoch, one.lsn, one.ordinal) < (other.epoch, other.lsn, other.ordinal)
        }
    }

    var operation: Operation
    var place: Place
    /// The row after a write, before a delete: an object of columns. Empty for a truncate.
    var row: [UInt8]
    /// The names of columns whose value was left out as unchanged (`flat`).
    var unchanged: [[UInt8]]

    /// What a value is.
    enum Reading {
        case change(ChangeValue)
        case message
        case malformed
    }

    /// - Parameter epoch: of the record, which its value does not say.
    static func read(_ bytes: [UInt8], epoch: UInt32) -> Reading {
        guard let members = JSONMembers(bytes) else { return .malformed }
        if let op = members.text(of: "_op") { return flat(members, op, epoch) }
        guard let op = members.text(of: "op"), let source = members.value(of: "source"),
            let lsn = JSONMembers(bytes, in: source)?.text(of: "lsn").flatMap(number)
        else { return .malformed }
        let place = Place(epoch: epoch, lsn: lsn)
        switch Array(op) {
        case quoted("m"): return .message
        case quoted("t"): return .change(ChangeValue(operation: .truncate, place: place, row: [], unchanged: []))
        case quoted("d"):
            guard let row = members.text(of: "before") else { return .malformed }
            return .change(ChangeValue(operation: .delete, place: place, row: Array(row), unchanged: []))
        default:
            guard let row = members.text(of: "after") else { return .malformed }
            let operation: Operation = Array(op) == quoted("u") ? .update : .create
            return .change(ChangeValue(operation: operation, place: place, row: Array(row), unchanged: []))
        }
    }

    private static func flat(_ members: JSONMembers, _ op: ArraySlice<UInt8>, _ epoch: UInt32) -> Reading {
        guard let lsn = members.text(of: "_lsn").flatMap(number), let ordinal = members.text(of: "_seq").flatMap(number)
        else { return .malformed }
        let place = Place(epoch: epoch, lsn: lsn, ordinal: ordinal)
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
        case quoted("t"): return .change(ChangeValue(operation: .truncate, place: place, row: [], unchanged: []))
        case quoted("d"): return .change(ChangeValue(operation: .delete, place: place, row: row, unchanged: []))
        case quoted("u"):
            return .change(ChangeValue(operation: .update, place: place, row: row, unchanged: unchanged))
        default: return .change(ChangeValue(operation: .create, place: place, row: row, unchanged: unchanged))
        }
    }

    private static func quoted(_ text: String) -> [UInt8] { Array("\"\(text)\"".utf8) }

    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        UInt64(String(decoding: digits, as: UTF8.self))
    }
}
