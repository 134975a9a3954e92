/// Turns the messages of one replication session, in their order, into records.
///
/// A pure state machine: bytes and times in, records into the caller's chunk and a step out. One is made for each
/// session, since the server announces its tables anew in each.
public struct ChangeEncoder: ~Copyable {
    /// How changes are written.
    public private(set) var format: EventFormat
    /// The topics that records name by index. Grows; an index keeps its meaning.
    public private(set) var topics: [String]
    /// The tables that records name by index. Grows; an index keeps its meaning.
    public private(set) var tables: [TableName]

    let resumingAt: LSN
    let skipping: EventPosition?
    /// Of a stretch of the past: the epochs that it is in. Of a live stream none: it is in that of its format.
    let epochs: [Epoch]
    var transaction: OpenTransaction?
    var plans: [UInt32: TablePlan] = [:]
    /// The relation that each name was announced for last. Another one by the same name takes its place, and the former one, which was
    /// dropped or has another name by now, would be announced again: so tables that are made anew each time take no more room.
    private var named: [TableName: UInt32] = [:]
    /// Relations whose changes are counted and not written.
    private var ignored: Set<UInt32> = []
    /// Those of `ignored` of which the first row is to be told.
    private var told: [UInt32: TableName] = [:]
    /// The plan of the last row: rows of one table come in runs.
    var lastPlan: TablePlan?
    /// Who writes to a topic, by what distinguishes topics: looked up for each table that is announced, so that a thousand
    /// of them cost a thousand looks.
    private var topicOwners: [String: (relation: UInt32, table: TableName)] = [:]
    private var ownedTopics: [UInt32: String] = [:]
    private var tableIndices: [TableName: Int32] = [:]
    var messageTopic: Int32?
    /// The end of the last transaction, for `sequence`.
    var lastEnd: LSN
    /// The source's clock, as the last transaction told it; nil while nothing is known of it.
    var clock: Int64?

    var pieces = TransactionPieces()
    var received = ReceivedPiece()
    var new: [Cell] = []
    var old: [Cell] = []
    var scratch = Scratch()
    var newKey = ByteBuffer()
    var oldKey = ByteBuffer()

    /// The transaction whose messages are coming.
    struct OpenTransaction {
        var head: TransactionHead
        /// The number of changes so far.
        var ordinal: UInt64 = 0
        /// Before the stored position: counted, not written.
        var isDiscarded: Bool
        /// So many first changes are in Kafka already.
        var skipped: UInt64
        /// It was committed elsewhere first, and its commit time is of that place.
        var hasOrigin = false
    }

    /// An encoder for a session.
    /// - Parameters:
    ///   - format: how changes are written.
    ///   - resumingAt: the stored position's `lsn`: transactions whose commit record begins before it are discarded.
    ///   - skipping: where a split transaction got: of the transaction with this commit LSN the first `ordinal` changes
    ///     are read and counted, and not written.
    ///   - committedAt: the source's clock that is known so far, microseconds since 1970: what a message outside transactions is dated by
    ///     until a transaction tells more; nil: when it arrives.
    ///   - epochs: of a stretch of the past the epochs that it may be in, in their order; none: all is in that of the format.
    ///   - topics: the topics of the session before, so that indices keep their meaning.
    ///   - tables: the tables of the session before, likewise.
    public init(
        format: EventFormat, resumingAt: LSN, skipping: EventPosition? = nil, committedAt: Int64? = nil,
        epochs: [Epoch] = [], topics: [String] = [], tables: [TableName] = []
    ) {
        self.format = format
        self.epochs = epochs
        self.resumingAt = resumingAt
        self.skipping = skipping
        self.topics = topics
        self.tables = tables
        for (index, table) in tables.enumerated() { tableIndices[table] = Int32(index) }
        lastEnd = resumingAt
        clock = committedAt
    }

    /// The position is of the last epoch that had begun by then.
    @inline(never)
    mutating func enterEpoch(of position: EventPosition) {
        if let epoch = epochs.last(where: { !position.isBehind($0.begin) }) { format.epoch = epoch.number }
    }

    /// How many tables it keeps plans of.
    public var plannedTables: Int { plans.count }

    /// The source's clock has gone on although no transaction came, microseconds since 1970: messages that follow are dated by it.
    public mutating func passes(_ time: Int64) { clock = max(clock ?? time, time) }

    /// Whether a transaction has begun whose commit has not come.
    public var isInTransaction: Bool { transaction != nil }

    /// The number of the transaction that has begun and whose commit has not come; nil outside one.
    public var openXID: UInt32? { transaction?.head.xid }

    /// Where the open transaction has got: the position of its last change; nil outside one. What a split stores.
    public var position: EventPosition? {
        transaction.map { EventPosition(epoch: format.epoch, commitLSN: $0.head.commitLSN, ordinal: $0.ordinal) }
    }

    /// Reads one message and appends its records to the chunk.
    /// - Parameters:
    ///   - message: the bytes of the XLogData frame's payload.
    ///   - lsn: the frame's dataStart.
    ///   - receivedAt: when it arrived, in nanoseconds since 1970: Debezium's outer `ts_ms`, `ts_us` and `ts_ns`.
    ///   - chunk: where records and boundaries go.
    /// - Returns: what happened, and with `describe` what the caller must do.
    /// - Throws: `ChangeDataError`; the chunk is then as it was before.
    public mutating func consume(
        _ message: Span<UInt8>, at lsn: LSN, receivedAt: Int64, into chunk: RecordChunk
    ) throws(ChangeDataError) -> Step {
        try step(message, at: lsn, receivedAt: receivedAt, into: &chunk.contents)
    }

    private mutating func step(
        _ message: Span<UInt8>, at lsn: LSN, receivedAt: Int64, into chunk: inout RecordContents
    ) throws(ChangeDataError) -> Step {
        switch message.isEmpty ? 0 : message[0] {
        case UInt8(ascii: "I"), UInt8(ascii: "U"), UInt8(ascii: "D"):
            do throws(ChangeDataError) {
                return try change(message, at: lsn, receivedAt: receivedAt, into: &chunk)
            } catch { return try setAside(error, message, at: lsn, into: &chunk) }
        case UInt8(ascii: "B"):
            return try begin(parse(message, at: lsn, BeginMessage.init), at: lsn)
        case UInt8(ascii: "C"):
            return try commit(
                parse(message, at: lsn, CommitMessage.init), at: lsn, receivedAt: receivedAt, into: &chunk)
        case UInt8(ascii: "O"):
            return try originate(parse(message, at: lsn, OriginMessage.init), at: lsn)
        case UInt8(ascii: "R"):
            let relation = try parse(message, at: lsn, Relation.init)
            // No row is written by what held before: `define` must come first.
            plans[relation.oid] = nil
            ignored.remove(relation.oid)
            lastPlan = nil
            return .describe(relation)
        case UInt8(ascii: "Y"):
            _ = try parse(message, at: lsn, TypeMessage.init)
            return .none
        case UInt8(ascii: "T"):
            let truncate = try parse(message, at: lsn, TruncateMessage.init)
            return try self.truncate(truncate, at: lsn, receivedAt: receivedAt, into: &chunk)
        case UInt8(ascii: "M"):
            let content = try parse(message, at: lsn, ContentMessage.init)
            return try emit(content, of: message, receivedAt: receivedAt, into: &chunk)
        case 0:
            throw .malformed(Malformation(message: 0, offset: 0, reason: .tooShort), at: lsn)
        default:
            // Stream and prepare messages (S, E, c, A, b, P, K, r, p) are of later protocols.
            throw .unsupported(message: message[0], at: lsn)
        }
    }

    /// Says what the catalog knows of a relation: the rows that follow are written by it. May be called again, also
    /// with the same; nothing changes then but what the catalog says.
    /// - Throws: `reservedColumn`.
    public mutating func define(
        _ relation: Relation, as description: TableDescription
    ) throws(ChangeDataError) {
        let table = relation.table
        lastPlan = nil
        guard !description.isIgnored else {
            plans[relation.oid] = nil
            ignored.insert(relation.oid)
            if description.isTold { told[relation.oid] = table }
            return
        }
        if format.envelope == .flat,
            let column = relation.columns.first(where: { reservedColumns.contains($0.name) })
        {
            throw .reservedColumn(table: table, column: column.name)
        }
        if let former = named.updateValue(relation.oid, forKey: table), former != relation.oid { forget(former, table) }
        // A table that was renamed leaves its topic.
        if let topic = ownedTopics[relation.oid], let owner = topicOwners[topic], owner.table != table {
            leaveTopic(relation.oid)
        }
        plans[relation.oid] = TablePlan(relation, description, format: format)
        ignored.remove(relation.oid)
    }

    /// A relation that had this name, and has it no more.
    private mutating func forget(_ relation: UInt32, _ table: TableName) {
        // It may have been announced by another name since.
        guard plans[relation].map({ $0.relation.table == table }) ?? true else { return }
        plans[relation] = nil
        leaveTopic(relation)
    }

    private mutating func leaveTopic(_ relation: UInt32) {
        guard let topic = ownedTopics.removeValue(forKey: relation), topicOwners[topic]?.relation == relation else {
            return
        }
        topicOwners[topic] = nil
    }

    private mutating func topicIndex(of table: TableName, _ relation: UInt32) throws(ChangeDataError) -> Int32 {
        do throws(TopicError) {
            let topic = try topicName(
                template: format.topicTemplate, name: format.name, schema: table.schema, table: table.name)
            let key = collisionKey(topic)
            if let other = format.other(collidingWith: key) {
                throw .collision(topic: topic, table: table, other: other)
            }
            if let owner = topicOwners[key], owner.relation != relation, owner.table != table {
                throw .collision(topic: topic, table: table, other: owner.table)
            }
            topicOwners[key] = (relation, table)
            ownedTopics[relation] = key
            return index(ofTopic: topic)
        } catch {
            throw .topic(error)
        }
    }

    mutating func index(ofTopic topic: String) -> Int32 {
        if let index = topics.firstIndex(of: topic) { return Int32(index) }
        topics.append(topic)
        return Int32(topics.count - 1)
    }

    private mutating func tableIndex(of table: TableName) -> Int32 {
        if let index = tableIndices[table] { return index }
        tables.append(table)
        let index = Int32(tables.count - 1)
        tableIndices[table] = index
        return index
    }

    /// What to say of a row of a relation that is not written.
    @inline(never)
    mutating func passOver(_ relation: UInt32) -> Step {
        told.removeValue(forKey: relation).map { .passedOver($0) } ?? .changed(records: 0)
    }

    /// The plan of a relation's rows; nil where they are not written. Topic and name have their places from the first row on: a table
    /// may be announced and never have one, as a partition is beside its root.
    /// - Throws: `undefined`, `topic`.
    mutating func plan(_ relation: UInt32, at lsn: LSN) throws(ChangeDataError) -> TablePlan? {
        if let lastPlan, lastPlan.relation.oid == relation { return lastPlan }
        guard var plan = plans[relation] else {
            if ignored.contains(relation) { return nil }
            throw .undefined(relation: relation, at: lsn)
        }
        if plan.topic < 0 {
            let table = plan.relation.table
            plan = TablePlan(plan, topic: try topicIndex(of: table, relation), table: tableIndex(of: table))
            plans[relation] = plan
        }
        lastPlan = plan
        return plan
    }
}

/// Members of a flat record that are not columns.
package let reservedColumns: Set<String> = ["_op", "_lsn", "_commit_ts", "_xid", "_seq", "_unchanged"]

/// Reads a whole message; a fault in it becomes an error with the LSN.
@inline(__always)
func parse<M>(
    _ message: Span<UInt8>, at lsn: LSN, _ body: (inout MessageReader) throws(Malformation) -> M
) throws(ChangeDataError) -> M {
    do throws(Malformation) {
        var reader = MessageReader(message)
        guard message.count <= Int32.max else { throw reader.fault(.tooLong) }
        _ = try reader.uint8()
        return try body(&reader)
    } catch {
        throw .malformed(error, at: lsn)
    }
}
