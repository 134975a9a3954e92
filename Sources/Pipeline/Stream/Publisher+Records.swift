import ChangeData
import Kafka

/// How records are given to the Kafka client: no more at a time than it can send (`SendSlice`).
extension Publisher {
    /// Offers records to the client until all are taken; answers the index after the last.
    mutating func send(_ chunk: RecordChunk, _ records: Range<Int>, copying: Bool) throws(KafkaError) -> Int {
        guard let producer else { return records.lowerBound }
        let all = chunk.records
        let most = (copying ? settings.copiedBytes : settings.producerQueueBytes) / 4 * 3
        try chunk.withBytes { (bytes) throws(KafkaError) in
            for index in records {
                let record = all[index]
                let topic = topics[record.topic]
                let size = record.byteCount + SendSlice.overhead
                if slice.isFull(for: record.topic, of: topic.partitions, adding: size, most: most) {
                    try deliver(by: producer)
                }
                let part = SplitMark.part(of: bytes.extracting(record.position), after: stored)
                Failpoint.hit(.beforeProduce)
                while try offer(record, bytes, part: part, to: topic, by: producer, copying: copying) == .queueFull {
                    try deliver(by: producer)
                }
                slice.add(size, to: record.topic)
                Failpoint.hit(.afterProduce)
            }
        }
        return records.upperBound
    }

    /// Has the client send what it was given, and waits for it, but not for ever: if the transaction has failed, that shows
    /// when the next record is offered, or at the commit. Throws where the end of the transaction before is in doubt.
    private mutating func deliver(by producer: TransactionalProducer) throws(KafkaError) {
        services.turned(.publisher)
        try? producer.flush(timeout: .milliseconds(200))
        slice.reset()
        let lost = producer.connectionsLost
        if producer.outstanding == 0 { doubt.acknowledged(lost) }
        if doubt.forbidsRecords(lost) { throw Self.inDoubt }
    }

    /// Waits until all that was given is acknowledged or refused, unless the session is over.
    mutating func deliverAll() throws(KafkaError) {
        while let producer, producer.outstanding > 0, !link.isAborted { try deliver(by: producer) }
    }

    /// Waits until the client needs the bytes of the newest chunk no more.
    mutating func drainProducer() throws(SessionFailure) {
        while (producer?.outstanding ?? 0) > 0 {
            guard !link.isAborted else { throw .stopped }
            do throws(KafkaError) { try deliverAll() } catch { _ = try recover(from: error, attempted: nil) }
        }
    }

    private func offer(
        _ record: RecordChunk.Record, _ bytes: Span<UInt8>, part: Int, to topic: TransactionalProducer.Topic,
        by producer: TransactionalProducer, copying: Bool
    ) throws(KafkaError) -> TransactionalProducer.Outcome {
        let position = RecordHeader("sluice.pos", bytes.extracting(record.position))
        let retention: TransactionalProducer.Retention = copying ? .copied : .borrowed
        if let replayID {
            let mark = SplitMark(part: part)
            return try producer.produce(
                to: topic, partition: record.partition, key: piece(of: bytes, record.key),
                value: piece(of: bytes, record.value), header: position, header: link(of: record, bytes),
                header: part > 0 ? RecordHeader("sluice.split", mark.text) : nil,
                header: RecordHeader("sluice.replay", replayID.span), retention: retention)
        }
        if part > 0 {
            let mark = SplitMark(part: part)
            return try producer.produce(
                to: topic, partition: record.partition, key: piece(of: bytes, record.key),
                value: piece(of: bytes, record.value), header: position, header: link(of: record, bytes),
                header: RecordHeader("sluice.split", mark.text), retention: retention)
        }
        return try producer.produce(
            to: topic, partition: record.partition, key: piece(of: bytes, record.key),
            value: piece(of: bytes, record.value), header: position, header: link(of: record, bytes),
            retention: retention)
    }

    @_lifetime(copy bytes)
    private func piece(of bytes: Span<UInt8>, _ range: Range<Int>?) -> Span<UInt8>? {
        guard let range else { return nil }
        return bytes.extracting(range)
    }

    @_lifetime(copy bytes)
    private func link(of record: RecordChunk.Record, _ bytes: Span<UInt8>) -> RecordHeader? {
        guard let range = record.link else { return nil }
        return RecordHeader(record.linkName, bytes.extracting(range))
    }
}
