import ChangeData

/// The inverse of the decoder: messages of pgoutput, protocol 1, from values.
enum Build {
    enum Value {
        case text(String)
        case bytes([UInt8])
        case null
        case unchanged
        case binary([UInt8])
    }

    static func number(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    static func text(_ value: String) -> [UInt8] { Array(value.utf8) + [0] }

    /// Microseconds since 1970 to the wire's since 2000.
    static func time(_ value: Int64) -> [UInt8] { number(value - 946_684_800_000_000) }

    static func begin(_ commit: UInt64, xid: UInt32 = 7, time: Int64 = 1_700_000_000_123_456) -> Message {
        Message(lsn: LSN(commit), bytes: [0x42] + number(commit) + self.time(time) + number(xid))
    }

    static func commit(_ commit: UInt64, end: UInt64, time: Int64 = 1_700_000_000_123_456) -> Message {
        Message(lsn: LSN(end), bytes: [0x43, 0] + number(commit) + number(end) + self.time(time))
    }

    static func origin(_ lsn: UInt64, _ name: String) -> Message {
        Message(lsn: LSN(0), bytes: [0x4F] + number(lsn) + text(name))
    }

    static func relation(_ relation: Relation) -> Message {
        var bytes: [UInt8] = [0x52] + number(relation.oid) + text(relation.table.schema) + text(relation.table.name)
        bytes += [relation.replicaIdentity.rawValue] + number(UInt16(relation.columns.count))
        for column in relation.columns {
            bytes += [column.isKey ? 1 : 0] + text(column.name) + number(column.typeOID) + number(column.modifier)
        }
        return Message(lsn: LSN(0), bytes: bytes)
    }

    static func tuple(_ values: [Value]) -> [UInt8] {
        var bytes = number(UInt16(values.count))
        for value in values {
            switch value {
            case .null: bytes += [0x6E]
            case .unchanged: bytes += [0x75]
            case .text(let text): bytes += [0x74] + number(UInt32(text.utf8.count)) + Array(text.utf8)
            case .bytes(let raw): bytes += [0x74] + number(UInt32(raw.count)) + raw
            case .binary(let raw): bytes += [0x62] + number(UInt32(raw.count)) + raw
            }
        }
        return bytes
    }

    static func insert(_ relation: UInt32, _ values: [Value], at lsn: UInt64 = 500) -> Message {
        Message(lsn: LSN(lsn), bytes: [0x49] + number(relation) + [0x4E] + tuple(values))
    }

    static func update(
        _ relation: UInt32, _ values: [Value], key: [Value]? = nil, old: [Value]? = nil, at lsn: UInt64 = 500
    ) -> Message {
        var bytes: [UInt8] = [0x55] + number(relation)
        if let key { bytes += [0x4B] + tuple(key) }
        if let old { bytes += [0x4F] + tuple(old) }
        return Message(lsn: LSN(lsn), bytes: bytes + [0x4E] + tuple(values))
    }

    static func delete(_ relation: UInt32, key: [Value]? = nil, old: [Value]? = nil, at lsn: UInt64 = 500) -> Message {
        var bytes: [UInt8] = [0x44] + number(relation)
        if let key { bytes += [0x4B] + tuple(key) }
        if let old { bytes += [0x4F] + tuple(old) }
        return Message(lsn: LSN(lsn), bytes: bytes)
    }

    static func truncate(_ relations: [UInt32], at lsn: UInt64 = 500) -> Message {
        Message(
            lsn: LSN(lsn),
            bytes: [0x54] + number(UInt32(relations.count)) + [0] + relations.flatMap { number($0) })
    }

    static func content(
        _ prefix: String, _ content: [UInt8], isTransactional: Bool, at lsn: UInt64 = 500
    ) -> Message {
        Message(
            lsn: LSN(lsn),
            bytes: [0x4D, isTransactional ? 1 : 0] + number(lsn) + text(prefix) + number(UInt32(content.count))
                + content)
    }

    /// A table `public.t (id integer, v text, w integer)`.
    static func table(
        _ oid: UInt32 = 100, _ name: String = "t", identity: Relation.ReplicaIdentity = .default
    ) -> Relation {
        let isFull = identity == .full
        return Relation(
            oid: oid, table: TableName(schema: "public", name: name), replicaIdentity: identity,
            columns: [
                Relation.Column(name: "id", typeOID: 23, modifier: -1, isKey: identity != .nothing),
                Relation.Column(name: "v", typeOID: 25, modifier: -1, isKey: isFull),
                Relation.Column(name: "w", typeOID: 23, modifier: -1, isKey: isFull),
            ])
    }
}

/// A generator that a seed repeats (SplitMix64). The seed is printed by each test that uses one.
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    init(_ test: String, seed: UInt64 = .random(in: 0...UInt64.max)) {
        state = seed
        print("\(test): seed \(seed)")
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
