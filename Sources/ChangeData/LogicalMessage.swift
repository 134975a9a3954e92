// The messages of pgoutput, protocol 1, one small type each with its layout drawn above its decoder. Numbers are
// big-endian; `text` ends with a zero byte; times are microseconds since 2000. Each decoder reads all of its bytes.

/// `B` | uint64 LSN of the commit record | int64 commit time | uint32 xid
struct BeginMessage {
    let commitLSN: LSN
    let commitTime: Int64
    let xid: UInt32

    init(_ reader: inout MessageReader) throws(Malformation) {
        commitLSN = try reader.lsn()
        commitTime = try reader.time()
        xid = try reader.uint32()
        try reader.end()
    }
}

/// `C` | uint8 flags, 0 | uint64 LSN of the commit record | uint64 LSN of its end | int64 commit time
struct CommitMessage {
    let commitLSN: LSN
    let endLSN: LSN
    let commitTime: Int64

    init(_ reader: inout MessageReader) throws(Malformation) {
        guard try reader.uint8() == 0 else { throw reader.fault(.unknownTag) }
        commitLSN = try reader.lsn()
        endLSN = try reader.lsn()
        commitTime = try reader.time()
        try reader.end()
    }
}

/// `O` | uint64 LSN at the origin | text name
struct OriginMessage {
    let lsn: LSN
    let name: String

    init(_ reader: inout MessageReader) throws(Malformation) {
        lsn = try reader.lsn()
        name = try reader.text()
        try reader.end()
    }
}

/// `Y` | uint32 type OID | text schema | text name. What it says is in the catalog too; it is only checked here.
struct TypeMessage {
    init(_ reader: inout MessageReader) throws(Malformation) {
        _ = try reader.uint32()
        _ = try reader.textRange()
        _ = try reader.textRange()
        try reader.end()
    }
}

/// `T` | uint32 number of relations | uint8 options (1 cascade, 2 restart identity) | uint32 relation OID, each
struct TruncateMessage {
    let relations: [UInt32]

    init(_ reader: inout MessageReader) throws(Malformation) {
        let count = Int(try reader.uint32())
        _ = try reader.uint8()
        guard reader.bytes.count - reader.offset == count * 4 else { throw reader.fault(.invalidLength) }
        var relations: [UInt32] = []
        relations.reserveCapacity(count)
        for _ in 0..<count { relations.append(try reader.uint32()) }
        self.relations = relations
        try reader.end()
    }
}

/// `M` | uint8 flags (1 transactional) | uint64 LSN | text prefix | uint32 length | bytes
struct ContentMessage {
    let isTransactional: Bool
    let lsn: LSN
    let prefix: Range<Int>
    let content: Range<Int>

    init(_ reader: inout MessageReader) throws(Malformation) {
        let flags = try reader.uint8()
        guard flags <= 1 else { throw reader.fault(.unknownTag) }
        isTransactional = flags == 1
        lsn = try reader.lsn()
        prefix = try reader.textRange()
        let length = try reader.uint32()
        guard length <= UInt32(Int32.max) else { throw reader.fault(.invalidLength) }
        content = try reader.skip(Int(length))
        try reader.end()
    }
}

extension Relation {
    /// `R` | uint32 OID | text schema (empty: pg_catalog) | text name | uint8 replica identity | uint16 columns |
    /// each: uint8 flags (1: of the replica identity) | text name | uint32 type OID | int32 type modifier
    init(_ reader: inout MessageReader) throws(Malformation) {
        oid = try reader.uint32()
        let schema = try reader.text()
        let name = try reader.text()
        table = TableName(schema: schema.isEmpty ? "pg_catalog" : schema, name: name)
        guard let identity = ReplicaIdentity(rawValue: try reader.uint8()) else { throw reader.fault(.unknownTag) }
        replicaIdentity = identity
        let count = Int(try reader.uint16())
        var columns: [Column] = []
        columns.reserveCapacity(count)
        for _ in 0..<count {
            let flags = try reader.uint8()
            guard flags <= 1 else { throw reader.fault(.unknownTag) }
            let name = try reader.text()
            let type = try reader.uint32()
            let modifier = Int32(bitPattern: try reader.uint32())
            columns.append(Column(name: name, typeOID: type, modifier: modifier, isKey: flags == 1))
        }
        self.columns = columns
        try reader.end()
    }
}

/// One column's value in a tuple: where its text lies in the message.
struct Cell {
    enum Kind: UInt8 {
        case null
        case unchanged
        case text
        case binary
    }

    var start: UInt32
    var length: UInt32
    var kind: Kind

    var range: Range<Int> { Int(start)..<Int(start) + Int(length) }
}

/// uint16 columns | each: `n` null, or `u` unchanged TOAST, or `t` text or `b` binary with int32 length | bytes
///
/// Rows of one table come in runs: the array keeps its length, and its cells are overwritten.
func readTuple(_ reader: inout MessageReader, into cells: inout [Cell]) throws(Malformation) {
    let count = Int(try reader.uint16())
    if cells.count != count { cells = Array(repeating: Cell(start: 0, length: 0, kind: .null), count: count) }
    var cells = cells.mutableSpan
    for index in 0..<count {
        let tag = try reader.uint8()
        switch tag {
        case UInt8(ascii: "t"), UInt8(ascii: "b"):
            let length = try reader.uint32()
            let range = try reader.skip(Int(Int32(bitPattern: length)))
            // The message is shorter than two gigabytes: `parse` checks.
            cells[index] = Cell(
                start: UInt32(truncatingIfNeeded: range.lowerBound), length: length,
                kind: tag == UInt8(ascii: "t") ? .text : .binary)
        case UInt8(ascii: "n"): cells[index] = Cell(start: 0, length: 0, kind: .null)
        case UInt8(ascii: "u"): cells[index] = Cell(start: 0, length: 0, kind: .unchanged)
        default: throw reader.fault(.unknownTag)
        }
    }
}

/// A row change, its cells read into the caller's arrays.
///
/// `I` | uint32 relation | `N` tuple
/// `U` | uint32 relation | optional: `K` or `O` tuple | `N` tuple
/// `D` | uint32 relation | `K` or `O` tuple
struct RowMessage {
    let relation: UInt32
    /// `K` (key columns) or `O` (whole row) where an old tuple came, else 0.
    let oldTag: UInt8

    init(_ kind: UInt8, _ reader: inout MessageReader, new: inout [Cell], old: inout [Cell]) throws(Malformation) {
        relation = try reader.uint32()
        var tag = try reader.uint8()
        if kind != UInt8(ascii: "I"), tag == UInt8(ascii: "K") || tag == UInt8(ascii: "O") {
            oldTag = tag
            try readTuple(&reader, into: &old)
            tag = kind == UInt8(ascii: "U") ? try reader.uint8() : 0
        } else {
            oldTag = 0
            if !old.isEmpty { old.removeAll(keepingCapacity: true) }
        }
        if kind == UInt8(ascii: "D") {
            guard oldTag != 0 else { throw reader.fault(.noOldTuple) }
        } else {
            guard tag == UInt8(ascii: "N") else { throw reader.fault(.unknownTag) }
            try readTuple(&reader, into: &new)
        }
        try reader.end()
    }
}
