import Kafka
import ObjectStorage

/// What the store's threads answer, and what the group is told of it.
extension SinkSession {
    /// How long one turn works on many partitions, nanoseconds: the group hears of us at each poll, and gives up on one that does
    /// not poll.
    static let awayFromGroup: Int64 = .seconds(5)

    /// What has arrived, as far as the time goes.
    func handleResults() throws(SinkFailure) {
        let until = services.clock.monotonic() &+ Self.awayFromGroup
        while services.clock.monotonic() < until, let result = queue.takeResult() { try handle(result) }
    }

    func handle(_ result: StoreResult) throws(SinkFailure) {
        switch result {
        case .failed(let failure): throw failure
        case .resolved(let topic, let pin, let found): try resolved(topic, pin, found)
        case .looked(let partition, let key, let generation, let found):
            guard let writer = writers[partition], writer.puts.generation == generation,
                case .object(let object?) = found,
                let first = writer.puts.waiting.first ?? writer.open, first.key == key
            else { return }
            // Ours, if it was put meanwhile: its own result follows.
            if !writer.puts.waiting.isEmpty { return }
            let claim = ClaimDecision.Claim(start: first.start, firstPosition: first.firstPosition)
            try claimed(writer, first, ClaimDecision.judge(claim, found: object), bytes: nil)
        case .put(let segment, let generation, let outcome):
            guard let writer = writers[segment.partition], writer.puts.generation == generation else { return }
            switch outcome {
            case .created(let bytes): stored(writer, segment, bytes: bytes)
            case .spoolFull(let error): writer.rewind(to: segment, error)
            case .taken(let object, let bytes):
                let claim = ClaimDecision.Claim(
                    start: segment.start, firstPosition: segment.firstPosition, end: segment.object?.end,
                    sha256: segment.object?.sha256)
                try claimed(writer, segment, ClaimDecision.judge(claim, found: object), bytes: bytes)
            }
        }
    }

    private func claimed(
        _ writer: PartitionWriter, _ segment: Segment, _ decision: ClaimDecision, bytes: Int?
    ) throws(SinkFailure) {
        switch decision {
        case .ours:
            if let bytes { return stored(writer, segment, bytes: bytes) }
            // Another worker's, to the last byte.
            services.state.update { $0.sink.followed += 1 }
            writer.stored(segment)
            sealsLater(segment)
        case .conflict(let why): throw .conflict(segment.key, writer.partition, why)
        case .follow(let object):
            services.log.info(
                "another worker has written the next object: going on after it",
                ["object": .init(segment.key), "end": .init(object.end)])
            services.state.update { $0.sink.followed += 1 }
            writer.follow(object, key: segment.key)
            // Whoever has put it may have been killed since.
            sealsLater(segment)
        }
    }

    private func stored(_ writer: PartitionWriter, _ segment: Segment, bytes: Int) {
        writer.stored(segment)
        let facts = segment.facts
        if bytes > 0, facts.bytes > 0 { context.ratio.saw(raw: facts.bytes, stored: bytes) }
        context.limit.succeeded(with: bytes)
        let seconds = Double(services.clock.wall() / 1000 &- facts.oldest) / 1e6
        services.state.stored(
            topic: segment.partition.topic, bytes: bytes, records: facts.records, tombstones: facts.tombstones,
            seconds: max(0, seconds))
        sealsLater(segment)
        services.log.debug("an object is stored", ["object": .init(segment.key), "bytes": .init(bytes)])
    }

    /// Tells the group how far the partitions are. A failure is no matter but for the next worker's speed: it is tried again.
    func commit(timeout: Duration) {
        // What was put since the last commit is among it: an object that an offset covers is told of with that offset, or before.
        if let unsealed = board.unsealed(since: context.unsealed.version) { context.unsealed = unsealed }
        let offsets = writers.values.compactMap(\.offset)
        nextCommit = context.now &+ .milliseconds(200)
        guard !offsets.isEmpty else { return }
        do throws(KafkaError) {
            Failpoint.hit(.beforeOffset)
            try consumer.commit(offsets, timeout: timeout)
            Failpoint.hit(.afterOffset)
            for offset in offsets {
                writers[offset.partition]?.committed(offset.offset)
            }
        } catch {
            nextCommit = services.clock.monotonic() &+ .seconds(2)
            services.state.failed("kafka", kind: "commit_offsets")
            services.log.warning("the group's offsets could not be committed", ["error": .init(error)])
        }
    }
}

extension SinkStatus.Topic {
    mutating func add(bytes: Int, records: Int, tombstones: Int) {
        objects += 1
        self.bytes += UInt64(bytes)
        self.records += UInt64(records)
        self.tombstones += UInt64(tombstones)
    }
}
