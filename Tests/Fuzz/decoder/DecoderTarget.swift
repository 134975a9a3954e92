// Fuzz target: what a server sends, through the encoder, to records. Compiled together with the sources of `ChangeData`
// by `ops/fuzz`.
//
// An input is one byte of choices and then messages, each ended by `FF FE FE`, which no text of UTF-8 holds: a message may
// grow or shrink without those after it losing their places.

/// Called by libFuzzer for each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDecoder(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return -1 }
    let input = UnsafeBufferPointer(start: start, count: count).span
    var session = FuzzSession(choices: input[0], messages: input.extracting(1..<count))
    session.run(input.extracting(1..<count))
    return 0
}

/// One replication session, and what must hold after each of its messages.
private struct FuzzSession: ~Copyable {
    private var encoder: ChangeEncoder
    private let chunk = RecordChunk(capacity: 8192)
    private let keysAreFlagged: Bool
    private var json = JSONCheck()
    // Protocol 2, as `StreamedIntake` has it, with memory for the disk.
    private var streamed = StreamedTransactions()
    private var relations = RelationOrder()
    private var kept: [UInt32: [KeptMessage]] = [:]
    private var open: TransactionHead?
    /// Where the last record of the open transaction stands.
    private var ordinal: UInt64 = 0
    private var number: UInt64 = 0

    init(choices: UInt8, messages: Span<UInt8>) {
        func chosen(_ bit: UInt8) -> Bool { choices & 1 << bit != 0 }
        let format = EventFormat(
            name: "fuzz", database: "fuzz", version: "0", epoch: 1, envelope: chosen(0) ? .flat : .debezium,
            numeric: chosen(1) ? .number : .string, timestamps: chosen(2) ? .epoch : .iso,
            json: chosen(3) ? .inline : .text,
            tombstones: chosen(4), deadLetterTopic: chosen(2) != chosen(3) ? "dead" : nil)
        var skipping: EventPosition?
        if chosen(5), messages.count >= 9 {
            // Of the first transaction, the first change is in Kafka already.
            let lsn = (1..<9).reduce(UInt64(0)) { $0 << 8 | UInt64(messages[$1]) }
            skipping = EventPosition(epoch: 1, commitLSN: LSN(lsn), ordinal: 1)
        }
        encoder = ChangeEncoder(format: format, resumingAt: LSN(chosen(6) ? 1 << 32 : 0), skipping: skipping)
        keysAreFlagged = !chosen(7)
    }

    mutating func run(_ messages: Span<UInt8>) {
        var start = 0
        var place = 0
        while place < messages.count {
            if messages[place] == 0xFF, place + 2 < messages.count, messages[place + 1] == 0xFE,
                messages[place + 2] == 0xFE
            {
                take(messages.extracting(start..<place))
                place += 3
                start = place
            } else {
                place += 1
            }
        }
        take(messages.extracting(start..<place))
    }

    /// A message of a streamed transaction waits for its commit; any other goes to the encoder.
    private mutating func take(_ message: Span<UInt8>) {
        do throws(ChangeDataError) {
            switch try streamed.accept(message, at: LSN(number)) {
            case .pass:
                if message[0] == UInt8(ascii: "R") { relations.applied(message) }
                feed(message)
            case .keep(let transaction, let part):
                let isRelation = message[0] == UInt8(ascii: "R")
                kept[transaction]?.append(KeptMessage(part, message, arrival: isRelation ? relations.arrived() : nil))
            case .opened(let transaction): kept[transaction] = kept[transaction] ?? []
            case .drop(let transaction): kept[transaction] = nil
            case .publish(let commit, let parts): publish(commit, without: parts)
            case .closed, .forget, .origin: break
            }
        } catch {
            precondition(!error.description.isEmpty)
        }
        precondition(streamed.openCount == kept.count && streamed.forgotten >= 0, "a streamed transaction is lost")
    }

    private mutating func publish(_ commit: StreamCommit, without parts: Set<UInt32>) {
        guard let messages = kept.removeValue(forKey: commit.xid) else { fatalError("published without a beginning") }
        feed(commit.begin.span)
        for message in messages where !parts.contains(message.part) {
            if let arrival = message.arrival { relations.applied(message.bytes.span, arrival: arrival) }
            feed(message.bytes.span)
        }
        feed(commit.commit.span)
        for message in relations.outdated() { feed(message.span) }
    }

    private mutating func feed(_ message: Span<UInt8>) {
        number += 1
        let records = chunk.recordCount
        let bytes = chunk.byteCount
        let boundaries = chunk.boundaries.count
        do throws(ChangeDataError) {
            let step = try encoder.consume(message, at: LSN(number), receivedAt: Int64(number), into: chunk)
            check(
                step, of: message, newRecords: chunk.recordCount - records,
                newBoundaries: chunk.boundaries.count - boundaries)
            checkRecords(from: records, bytes)
            if case .describe(let relation) = step { try encoder.define(relation, as: describe(relation)) }
        } catch {
            precondition(
                chunk.recordCount == records && chunk.byteCount == bytes && chunk.boundaries.count == boundaries,
                "an error has changed the chunk")
            if case .malformed(let fault, _) = error {
                precondition((0...message.count).contains(fault.offset), "a place outside of the message")
            }
            precondition(!error.description.isEmpty)
        }
        precondition(encoder.isInTransaction == (open != nil), "an open transaction is lost")
        // No record comes out of less than a message, so memory is bounded by the input.
        if chunk.byteCount > 1 << 20 { chunk.removeAll(keepingCapacityUpTo: 1 << 16) }
    }

    private mutating func check(_ step: Step, of message: Span<UInt8>, newRecords: Int, newBoundaries: Int) {
        switch step {
        case .none:
            precondition(newRecords == 0 && newBoundaries == 0)
        case .began(let head):
            precondition(newRecords == 0 && newBoundaries == 0 && open == nil)
            precondition(message.count == 21 && number(in: message, at: 1) == head.commitLSN.rawValue)
            open = head
            ordinal = 0
        case .changed(let records):
            precondition(records == newRecords && newBoundaries == 0 && open != nil, "records are miscounted")
        case .passedOver(let table):
            precondition(newRecords == 0 && newBoundaries == 0 && open != nil && table.name.hasPrefix("ignored"))
        case .setAside(let why):
            precondition(newRecords == 1 && newBoundaries == 0 && open != nil && !why.description.isEmpty)
            precondition(chunk.records.last?.operation == .deadLetter && encoder.format.deadLetterTopic != nil)
        case .committed(let transaction, let discarded):
            precondition(newBoundaries == (discarded ? 0 : 1), "a boundary is missing")
            if !discarded { precondition(chunk.boundaries.last?.recordCount == chunk.recordCount) }
            if transaction.xid == 0, message[0] == UInt8(ascii: "M") {
                // Where its record ends; the next may be a commit that begins right there.
                precondition(transaction.endLSN == transaction.commitLSN, "what follows a message would be skipped")
                precondition(open == nil && newRecords == (discarded ? 0 : 1))
            } else {
                precondition(transaction.endLSN > transaction.commitLSN)
                precondition(
                    newRecords == 0 && transaction.commitLSN == open?.commitLSN && transaction.changes >= ordinal)
                open = nil
            }
        case .describe(let relation):
            precondition(newRecords == 0 && newBoundaries == 0)
            checkRelation(relation, message)
        }
    }

    private func number(in message: Span<UInt8>, at offset: Int) -> UInt64 {
        (offset..<offset + 8).reduce(UInt64(0)) { $0 << 8 | UInt64(message[$1]) }
    }

    /// What was decoded, encoded again, is the message.
    private func checkRelation(_ relation: Relation, _ message: Span<UInt8>) {
        var again = ByteBuffer(capacity: message.count)
        func append(_ value: some FixedWidthInteger, _ count: Int) {
            for shift in (0..<count).reversed() { again.append(UInt8(truncatingIfNeeded: value >> (8 * shift))) }
        }
        again.append(UInt8(ascii: "R"))
        append(relation.oid, 4)
        // An empty schema is written for pg_catalog.
        if message[5] != 0 { again.append(utf8: relation.table.schema) }
        again.append(0)
        again.append(utf8: relation.table.name)
        again.append(0)
        again.append(relation.replicaIdentity.rawValue)
        append(relation.columns.count, 2)
        for column in relation.columns {
            again.append(column.isKey ? 1 : 0)
            again.append(utf8: column.name)
            again.append(0)
            append(column.typeOID, 4)
            append(column.modifier, 4)
        }
        precondition(again.count == message.count, "a relation of another length")
        let bytes = again.span
        for index in bytes.indices { precondition(bytes[index] == message[index], "another relation") }
    }

    /// Records lie one after the other, their JSON is valid and on one line, and their positions never go back.
    private mutating func checkRecords(from first: Int, _ firstByte: Int) {
        let records = chunk.records
        guard first < records.count else { return }
        var end = firstByte
        chunk.withBytes { bytes in
            for index in first..<records.count {
                let record = records[index]
                for part in [record.key, record.value] {
                    guard let part else { continue }
                    precondition(part.lowerBound == end, "a gap between the parts")
                    end = part.upperBound
                    precondition(json.isValid(bytes.extracting(part)), "not one line of JSON")
                }
                precondition(record.position.lowerBound == end)
                end = record.position.upperBound
                checkPosition(bytes.extracting(record.position), record.operation)
                if let link = record.link {
                    precondition(link.lowerBound == end && json.isValid(bytes.extracting(link)))
                    end = link.upperBound
                }
                precondition(record.topic < encoder.topics.count && record.table ?? 0 < max(encoder.tables.count, 1))
            }
            precondition(end == bytes.count, "bytes of no record")
        }
    }

    private mutating func checkPosition(_ header: Span<UInt8>, _ operation: Operation) {
        guard let parsed = RecordPosition(parsing: header) else { fatalError("a position that cannot be read") }
        var again = ByteBuffer(capacity: 64)
        parsed.write(into: &again)
        precondition(again.count == header.count)
        guard let open else { return precondition(operation == .message && parsed.position.ordinal == 0) }
        precondition(parsed.position.commitLSN == open.commitLSN && parsed.commitTime == open.commitTime)
        precondition(parsed.position.ordinal >= max(ordinal, 1), "a position went back")
        ordinal = parsed.position.ordinal
    }

    /// A catalog for any relation: types that are not built in are made of what their OID says.
    private func describe(_ relation: Relation) -> TableDescription {
        let flagged = relation.columns.filter(\.isKey).map(\.name)
        var description = TableDescription(
            primaryKey: keysAreFlagged ? flagged : relation.columns.prefix(1).map(\.name))
        if !keysAreFlagged { description.identityIndex = flagged }
        for column in relation.columns where column.typeOID >= PostgresType.firstDescribed {
            for type in [column.typeOID, column.typeOID &- 1] { description.types[type] = makeType(type) }
        }
        description.isIgnored = relation.table.name.hasPrefix("ignored")
        description.isTold = relation.oid % 2 == 0
        return description
    }

    private func makeType(_ oid: UInt32) -> PostgresType {
        let kinds: [PostgresType.Kind] = [
            .base, .enum, .array(element: oid &- 1, delimiter: UInt8(ascii: ",")),
            .domain(base: 1700, modifier: 655_366),
            .array(element: 1114, delimiter: UInt8(ascii: ";")), .composite, .domain(base: oid &- 1, modifier: -1),
            .range,
        ]
        return PostgresType(schema: "public", name: oid % 16 < 8 ? "hstore" : "other", kind: kinds[Int(oid % 8)])
    }
}

/// A message of a streamed transaction, without the number of the part that it is of.
private struct KeptMessage {
    let part: UInt32
    var bytes: [UInt8]
    /// Of a table's announcement.
    let arrival: UInt64?

    init(_ part: UInt32, _ message: Span<UInt8>, arrival: UInt64?) {
        self.part = part
        self.arrival = arrival
        bytes = [message[0]]
        for index in 5..<message.count { bytes.append(message[index]) }
    }
}
