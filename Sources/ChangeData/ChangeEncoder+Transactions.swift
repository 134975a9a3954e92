extension ChangeEncoder {
    mutating func begin(_ message: BeginMessage, at lsn: LSN) throws(ChangeDataError) -> Step {
        guard transaction == nil else {
            throw .unexpected(message: UInt8(ascii: "B"), why: "the last transaction has no commit", at: lsn)
        }
        let head = TransactionHead(
            xid: message.xid, commitLSN: message.commitLSN, commitTime: message.commitTime)
        var skipped: UInt64 = 0
        if let skipping, skipping.commitLSN == head.commitLSN { skipped = skipping.ordinal }
        if !epochs.isEmpty { enterEpoch(of: EventPosition(epoch: 0, commitLSN: head.commitLSN, ordinal: 1)) }
        transaction = OpenTransaction(head: head, isDiscarded: head.commitLSN < resumingAt, skipped: skipped)
        pieces.make(head, format: format, last: lastEnd, originName: nil, originLSN: nil)
        return .began(head)
    }

    mutating func originate(_ message: OriginMessage, at lsn: LSN) throws(ChangeDataError) -> Step {
        guard let head = transaction?.head else {
            throw .unexpected(message: UInt8(ascii: "O"), why: "no transaction has begun", at: lsn)
        }
        transaction?.hasOrigin = true
        pieces.make(
            head, format: format, last: lastEnd, originName: message.name, originLSN: message.lsn)
        return .none
    }

    mutating func commit(
        _ message: CommitMessage, at lsn: LSN, receivedAt: Int64, into chunk: inout RecordContents
    ) throws(ChangeDataError) -> Step {
        guard let open = transaction else {
            throw .unexpected(message: UInt8(ascii: "C"), why: "no transaction has begun", at: lsn)
        }
        guard open.head.commitLSN == message.commitLSN, message.endLSN > message.commitLSN else {
            throw .unexpected(message: UInt8(ascii: "C"), why: "its LSNs are not those of its Begin", at: lsn)
        }
        transaction = nil
        lastEnd = message.endLSN
        let told = Transaction.clock(
            of: open.head.commitTime, hasOrigin: open.hasOrigin, now: receivedAt / 1000)
        // One that comes again does not take back what the clock has been since.
        if told > 0 { clock = open.isDiscarded ? max(clock ?? .min, told) : told }
        let whole = Transaction(
            xid: open.head.xid, commitLSN: message.commitLSN, endLSN: message.endLSN,
            commitTime: open.head.commitTime, changes: open.ordinal, clock: told)
        if !open.isDiscarded {
            chunk.boundaries.append(RecordChunk.Boundary(recordCount: chunk.records.count, transaction: whole))
        }
        return .committed(whole, discarded: open.isDiscarded)
    }

    /// Counts a change. Nil: it must not be written, being before the stored position.
    mutating func count(_ kind: UInt8, at lsn: LSN) throws(ChangeDataError) -> UInt64? {
        guard transaction != nil else {
            throw .unexpected(message: kind, why: "no transaction has begun", at: lsn)
        }
        transaction?.ordinal += 1
        guard let transaction, !transaction.isDiscarded, transaction.ordinal > transaction.skipped else { return nil }
        return transaction.ordinal
    }

    /// Truncates: one change and one record a relation, without key, before and after.
    mutating func truncate(
        _ message: TruncateMessage, at lsn: LSN, receivedAt: Int64, into chunk: inout RecordContents
    ) throws(ChangeDataError) -> Step {
        // `count` sees to it for each relation; a truncate of none is never counted.
        guard transaction != nil else {
            throw .unexpected(message: UInt8(ascii: "T"), why: "no transaction has begun", at: lsn)
        }
        var records = 0
        // Looked up first: an error leaves the chunk as it was.
        for relation in message.relations where transaction?.isDiscarded == false {
            _ = try plan(relation, at: lsn)
        }
        received.make(receivedAt)
        for relation in message.relations {
            guard let ordinal = try count(UInt8(ascii: "T"), at: lsn) else { continue }
            guard let plan = try plan(relation, at: lsn) else { continue }
            let start = chunk.buffer.count
            switch format.envelope {
            case .debezium: chunk.buffer.append("{\"before\":null,\"after\":null,")
            case .flat: chunk.buffer.append("{")
            }
            chunk.buffer.append(
                endOf: plan, operation: "t", pieces, received, ordinal: ordinal, lsn: lsn, envelope: format.envelope)
            chunk.buffer.append(UInt8(ascii: "}"))
            let end = chunk.buffer.count
            chunk.buffer.append(position: pieces, ordinal: ordinal)
            chunk.append(
                .truncate, start: start, keyEnd: nil, valueEnd: end, positionEnd: chunk.buffer.count,
                topic: plan.topic, table: plan.table)
            records += 1
        }
        return .changed(records: records)
    }

    /// A logical message. One that is not transactional comes outside any transaction and is a transaction of its own. Its LSN is
    /// where its record *ends*, and the next record may begin right there, a commit's among them: replication that restarts
    /// at this LSN does not send the message again, and one byte further would skip that transaction.
    mutating func emit(
        _ message: ContentMessage, of bytes: Span<UInt8>, receivedAt: Int64, into chunk: inout RecordContents
    ) throws(ChangeDataError) -> Step {
        let kind = UInt8(ascii: "M")
        if message.isTransactional {
            guard let ordinal = try count(kind, at: message.lsn) else { return .changed(records: 0) }
            try append(message, of: bytes, ordinal: ordinal, receivedAt: receivedAt, into: &chunk)
            return .changed(records: 1)
        }
        guard transaction == nil else {
            throw .unexpected(message: kind, why: "not transactional, and inside a transaction", at: message.lsn)
        }
        let head = TransactionHead(
            xid: 0, commitLSN: message.lsn, commitTime: clock ?? receivedAt / 1000)
        let whole = Transaction(
            xid: 0, commitLSN: message.lsn, endLSN: message.lsn, commitTime: head.commitTime, changes: 1)
        // As Debezium: the message counts as a commit for `sequence`, its own too; also one that comes again.
        lastEnd = message.lsn
        if message.lsn <= resumingAt { return .committed(whole, discarded: true) }
        if !epochs.isEmpty { enterEpoch(of: EventPosition(epoch: 0, commitLSN: message.lsn, ordinal: 0)) }
        pieces.make(head, format: format, last: lastEnd, originName: nil, originLSN: nil)
        try append(message, of: bytes, ordinal: 0, receivedAt: receivedAt, into: &chunk)
        chunk.boundaries.append(RecordChunk.Boundary(recordCount: chunk.records.count, transaction: whole))
        return .committed(whole, discarded: false)
    }

    private mutating func append(
        _ message: ContentMessage, of bytes: Span<UInt8>, ordinal: UInt64, receivedAt: Int64,
        into chunk: inout RecordContents
    ) throws(ChangeDataError) {
        let topic = messageTopic ?? index(ofTopic: messageTopicName(name: format.name))
        messageTopic = topic
        let start = chunk.buffer.count
        do throws(ValueFailure) {
            try write(message, of: bytes, ordinal: ordinal, receivedAt: receivedAt, to: &chunk.buffer)
        } catch {
            chunk.buffer.truncate(to: start)
            let table = TableName(schema: "", name: "(logical messages)")
            throw .unrepresentable(table: table, column: "prefix", why: error, at: message.lsn)
        }
        // The key is `{"prefix":...}`; its end was left in the scratch by `write`.
        let keyEnd = start + newKey.count
        let end = chunk.buffer.count
        chunk.buffer.append(position: pieces, ordinal: ordinal)
        chunk.append(
            .message, start: start, keyEnd: keyEnd, valueEnd: end, positionEnd: chunk.buffer.count,
            topic: topic, table: -1)
    }

    private mutating func write(
        _ message: ContentMessage, of bytes: Span<UInt8>, ordinal: UInt64, receivedAt: Int64, to out: inout ByteBuffer
    ) throws(ValueFailure) {
        newKey.removeAll()
        newKey.append("{\"prefix\":")
        try newKey.append(jsonString: bytes.extracting(message.prefix))
        out.append(newKey.span)
        out.append("}")
        switch format.envelope {
        case .debezium:
            out.append("{\"op\":\"m\",\"ts_ms\":")
            out.append(decimal: receivedAt / 1_000_000)
            out.append(",")
            out.append(source: pieces, table: emptySource.span, lsn: message.lsn)
            out.append(",\"message\":")
            out.append(newKey.span)
            out.append(",\"content\":\"")
            out.append(base64: bytes.extracting(message.content))
            out.append("\"}}")
        case .flat:
            out.append(newKey.span)
            out.append(",\"content\":\"")
            out.append(base64: bytes.extracting(message.content))
            out.append("\",\"_op\":\"m")
            out.append(pieces.bytes.span.extracting(pieces.flat))
            out.append(decimal: ordinal)
            out.append("}")
        }
        newKey.append("}")
    }
}

/// What stands for the table in the source of a message.
private let emptySource = Array("\"\",\"table\":\"\",\"txId\":".utf8)
