import ChangeData
import Kafka

/// What is seen to before records are produced: their topics.
extension Publisher {
    /// Opens topics that are named for the first time, and refuses a record that its topic cannot take before anything of
    /// its transaction is visible.
    mutating func prepare(_ chunk: RecordChunk, _ records: Range<Int>) throws(SessionFailure) {
        var needed = 0
        for record in chunk.records[records] { needed = max(needed, record.topic + 1) }
        if needed > topics.count {
            // To ask brokers may take as long as they are away, and this thread would not see that one went: until the open
            // transaction has begun at the brokers, it may not begin unseen (`EndInDoubt`).
            if mustAsk(upTo: needed) { try drainProducer() }
            guard let producer else { return }
            try topics.prepare(
                upTo: needed, names: link.names.topics, producer: producer, pins: &pending.partitions)
        }
        guard let large = topics.firstTooLarge(chunk, records) else { return }
        let record = chunk.records[large.index]
        let table = record.table.map { link.names.tables[$0] } ?? "(logical message)"
        let key = record.key.map { String(decoding: bytes(chunk, $0), as: UTF8.self) } ?? "(no key)"
        let position = bytes(chunk, record.position)
        let exit = TooLarge(
            table: table, topic: topics[record.topic].name, key: String(key.prefix(512)),
            position: String(decoding: position, as: UTF8.self), size: large.size, limit: large.limit,
            requestLimit: topics.requestLimit
        ).exit
        guard let lsn = RecordPosition(parsing: position.span)?.position.commitLSN else { throw .exit(exit) }
        throw .unpublishable(exit, lsn)
    }

    /// Apart from `prepare`: no reference to the producer may outlive this, see `discard`.
    private func mustAsk(upTo count: Int) -> Bool {
        guard let producer else { return false }
        return topics.mustAsk(upTo: count, names: link.names.topics, producer, pending.partitions)
    }

    private func bytes(_ chunk: RecordChunk, _ range: Range<Int>) -> [UInt8] {
        chunk.withBytes { all in range.map { all[$0] } }
    }
}
