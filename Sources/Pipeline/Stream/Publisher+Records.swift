import CLinux
import ChangeData
import Kafka

/// How records are given to the Kafka client: no more at a time than `SendWindow` says.
extension Publisher {
    /// Offers records to the client until all are taken; answers the index after the last.
    mutating func send(_ chunk: RecordChunk, _ records: Range<Int>, copying: Bool) throws(KafkaError) -> Int {
        guard let producer else { throw Self.noProducer }
        let all = chunk.records
        let most = (copying ? settings.copiedBytes : settings.producerQueueBytes) / 4 * 3
        try chunk.withBytes { (bytes) throws(KafkaError) in
            for index in records {
                let record = all[index]
                if index &+ Self.readAhead < records.upperBound { prefetch(all[index &+ Self.readAhead], of: bytes) }
                let topic = topics[record.topic]
                let key = piece(of: bytes, record.key)
                let partition = record.partition ?? producer.partition(for: key, of: topic)
                try makeRoom(for: record.payloadCount, in: topic, partition, most: most, by: producer)
                let part = SplitMark.part(of: bytes.extracting(record.position), after: stored)
                Failpoint.hit(.beforeProduce)
                while try producer.offer(
                    record, bytes, part: part, replayID: replayID, to: topic, partition, key: key, copying: copying)
                    == .queueFull
                {
                    // The session is over: `recover` says so.
                    guard !link.isAborted else { throw Self.inDoubt }
                    try deliver(by: producer)
                }
                Failpoint.hit(.afterProduce)
            }
        }
        return records.upperBound
    }

    /// The source's processor has written the records; how many before its turn one is brought over.
    private static var readAhead: Int { 4 }

    /// Waits for room in the window, but not for ever: if the transaction has failed, that shows when the record is offered.
    private mutating func makeRoom(
        for size: Int, in topic: TransactionalProducer.Topic, _ partition: Int32, most: Int,
        by producer: TransactionalProducer
    ) throws(KafkaError) {
        var deadline: Int64?
        while true {
            let load = producer.load(topic, partition)
            let step = window.step(
                adding: size, to: load.partition, of: topic.partitions,
                all: load.bytes &+ load.records &* SendWindow.overhead, most: most,
                isFollowed: doubt.isFollowed)
            guard step != .give, !link.isAborted else { return }
            let now = services.clock.monotonic()
            let until = deadline ?? (now &+ .milliseconds(200))
            guard now < until else { return }
            deadline = until
            if step == .listen { listen(to: producer) } else { try deliver(by: producer) }
        }
    }

    /// Waits for answers to what the client sends by itself.
    private mutating func listen(to producer: TransactionalProducer) {
        services.turned(.publisher)
        producer.poll(.milliseconds(50))
    }

    /// Has the client send what it was given, and waits for it, but not for ever. Throws where the end of the transaction before
    /// is in doubt.
    private mutating func deliver(by producer: TransactionalProducer) throws(KafkaError) {
        services.turned(.publisher)
        try? producer.flush(timeout: .milliseconds(200))
        try requireCertainty(of: producer)
    }

    private mutating func requireCertainty(of producer: TransactionalProducer) throws(KafkaError) {
        let lost = producer.connectionsLost
        if producer.outstanding == 0 { doubt.acknowledged(lost) }
        if doubt.forbidsRecords(lost) { throw Self.inDoubt }
    }

    /// Waits until all that was given is acknowledged or refused, unless the session is over.
    mutating func deliverAll() throws(KafkaError) {
        guard let producer else { return }
        let until = services.clock.monotonic() &+ .milliseconds(200)
        while producer.load.fullPartitions > 0, !link.isAborted, services.clock.monotonic() < until {
            listen(to: producer)
        }
        while producer.outstanding > 0, !link.isAborted { try deliver(by: producer) }
        // Answers to all may have come before anybody had to wait.
        try requireCertainty(of: producer)
    }

    /// Waits until the client needs the bytes of the newest chunk no more.
    mutating func drainProducer() throws(SessionFailure) {
        while (producer?.outstanding ?? 0) > 0 {
            guard !link.isAborted else { throw .stopped }
            do throws(KafkaError) { try deliverAll() } catch { _ = try recover(from: error, attempted: nil) }
        }
    }
}

/// Not the publisher's methods: called for each record, they would have all of the publisher copied each time.
extension TransactionalProducer {
    fileprivate func offer(
        _ record: RecordChunk.Record, _ bytes: Span<UInt8>, part: Int, replayID: [UInt8]?, to topic: Topic,
        _ partition: Int32, key: Span<UInt8>?, copying: Bool
    ) throws(KafkaError) -> Outcome {
        let position = RecordHeader("sluice.pos", bytes.extracting(record.position))
        let retention: Retention = copying ? .copied : .borrowed
        if let replayID {
            let mark = SplitMark(part: part)
            return try produce(
                to: topic, partition: partition, key: key,
                value: piece(of: bytes, record.value), header: position, header: link(of: record, bytes),
                header: part > 0 ? RecordHeader("sluice.split", mark.text) : nil,
                header: RecordHeader("sluice.replay", replayID.span), retention: retention)
        }
        if part > 0 {
            let mark = SplitMark(part: part)
            return try produce(
                to: topic, partition: partition, key: key,
                value: piece(of: bytes, record.value), header: position, header: link(of: record, bytes),
                header: RecordHeader("sluice.split", mark.text), retention: retention)
        }
        return try produce(
            to: topic, partition: partition, key: key,
            value: piece(of: bytes, record.value), header: position, header: link(of: record, bytes),
            retention: retention)
    }
}

/// Asks for what the client copies of a record, its key and its headers, so that no copy waits for memory.
private func prefetch(_ record: RecordChunk.Record, of bytes: Span<UInt8>) {
    // SAFETY: the ranges of a record are within its chunk's bytes, and nothing is read: these are hints.
    unsafe bytes.withUnsafeBufferPointer { all in
        guard let start = all.baseAddress else { return }
        if let key = record.key { unsafe sluice_prefetch(start + key.lowerBound) }
        unsafe sluice_prefetch(start + record.position.lowerBound)
    }
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
