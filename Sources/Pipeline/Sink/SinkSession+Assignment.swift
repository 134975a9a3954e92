import Kafka
import ObjectStorage

/// Partitions that come and go.
extension SinkSession {
    func handle(_ event: ReaderEvent) throws(SinkFailure) {
        switch event {
        case .assigned(let partitions): try assigned(partitions)
        case .revoked(let partitions): try revoked(partitions)
        case .lost(let partitions):
            services.log.warning("partitions are lost", ["partitions": .init(partitions.count)])
            try release(partitions)
        case .partitionEnd(let partition, let offset):
            guard let writer = writers[partition], writer.phase == .reading,
                let position = consumer.position(of: partition), offset >= position
            else { return }
            writer.reachedEnd(offset)
        case .error(let error, let partition): try failed(error, partition)
        }
    }

    /// Reads nothing before the last object of each partition is known: until then it stands still.
    private func assigned(_ partitions: [TopicPartition]) throws(SinkFailure) {
        let ours = partitions.filter { settings.topics.accepts($0.topic) }
        ignored.formUnion(partitions.filter { !settings.topics.accepts($0.topic) })
        let committed: [PartitionOffset]
        do throws(KafkaError) {
            committed = ours.isEmpty ? [] : try consumer.committed(ours, timeout: .seconds(10))
            // The real offset follows, by a seek. An absolute one until then, never librdkafka's "end": the answer to its question
            // where that is may come after the seek, and takes the fetcher there, past records that were never shown.
            try consumer.assign(
                at: partitions.map { partition in
                    let known = committed.first { $0.partition == partition }?.offset ?? 0
                    return PartitionOffset(partition, offset: max(0, known))
                })
        } catch { throw .kafka(error) }
        var asked: [String: [StoreJob.Asked]] = [:]
        for partition in ours {
            let known = committed.first { $0.partition == partition }
            let note = known?.metadata.flatMap(OffsetNote.init(json:))
            let writer = PartitionWriter(partition, context, committed: known?.offset, note: note)
            writers[partition] = writer
            facts[partition] = (known?.offset, note)
            asked[partition.topic, default: []].append(
                StoreJob.Asked(partition: partition.partition, generation: writer.puts.generation, note: note))
        }
        nextPolicies = 0
        try applyPauses()
        for (topic, asked) in asked { queue.push(.resolve(topic: topic, asked)) }
        noteWhetherReady()
        services.log.info("partitions are assigned", ["partitions": .init(ours.count), "all": .init(writers.count)])
    }

    /// Finishes what can be finished in a short time; what cannot is for the next owner to read again.
    private func revoked(_ partitions: [TopicPartition]) throws(SinkFailure) {
        let going = partitions.compactMap { writers[$0] }
        for writer in going { try writer.end(.revoked, after: nil) }
        try settle(going, until: services.clock.monotonic() &+ settings.revocationTimeout)
        commit(timeout: .seconds(3))
        try release(partitions)
        services.log.info(
            "partitions are given back", ["partitions": .init(partitions.count), "all": .init(writers.count)])
    }

    private func release(_ partitions: [TopicPartition]) throws(SinkFailure) {
        for partition in partitions {
            writers.removeValue(forKey: partition)?.abandon()
            facts[partition] = nil
            paused.remove(partition)
            ignored.remove(partition)
        }
        forgetSlots()
        do throws(KafkaError) { try consumer.acknowledgeRevocation() } catch { throw .kafka(error) }
    }

    /// Waits until the objects of these partitions are put.
    func settle(_ going: [PartitionWriter], until deadline: Int64) throws(SinkFailure) {
        while going.contains(where: { !$0.puts.waiting.isEmpty }) {
            context.now = services.clock.monotonic()
            guard context.now < deadline else { return }
            services.state.turned(.sink, now: context.now)
            let left = Int(min(deadline &- context.now, .milliseconds(200)) / 1_000_000)
            queue.arrived.wait(milliseconds: max(1, left))
            try handleResults()
        }
    }

    // MARK: Positions

    /// The last objects of a topic's partitions are known.
    func resolved(
        _ topic: String, _ pin: TopicPin, _ found: [(asked: StoreJob.Asked, key: String?, object: StoredObject?)]
    ) throws(SinkFailure) {
        // Nothing more is read, and a stop has no time for questions.
        guard !services.stop.isRequested else { return }
        var isFailing = false
        let until = services.clock.monotonic() &+ Self.awayFromGroup
        let current = found.map(\.asked).filter {
            writers[TopicPartition(topic, $0.partition)]?.puts.generation == $0.generation
        }
        // Each leader once. Where one partition has none, they are asked for one by one.
        let all =
            current.count > 1 ? (try? bounds(of: current.map { TopicPartition(topic, $0.partition) })) ?? [:] : [:]
        for (asked, key, object) in found {
            let partition = TopicPartition(topic, asked.partition)
            guard let writer = writers[partition], writer.puts.generation == asked.generation else { continue }
            // A partition without a leader keeps no other from being read: each question takes its time, and the group waits meanwhile.
            guard !isFailing, all[partition] != nil || services.clock.monotonic() < until else {
                asksLater.append((services.clock.monotonic() &+ .seconds(1), topic, asked))
                continue
            }
            let bounds: PartitionBounds
            do throws(SinkFailure) {
                if let known = all[partition] { bounds = known } else { bounds = try self.bounds(of: partition) }
            } catch {
                isFailing = true
                askLater(asked, of: partition, error)
                continue
            }
            var known = ResumeDecision.Facts(low: bounds.low, high: max(bounds.high, bounds.lastStable))
            known.committed = facts[partition]?.offset
            known.note = facts[partition]?.note
            known.samePin = known.note?.pin == pin.id
            known.sameStore = known.note?.store == context.storeID
            known.key = key
            known.object = object
            switch ResumeDecision.judge(known) {
            case .refuse(.lost) where asked.note != nil:
                // The group may have missed the offsets of later objects: only a listing says that there are none.
                let again = StoreJob.Asked(partition: asked.partition, generation: asked.generation, note: nil)
                queue.push(.resolve(topic: topic, [again]))
            case .refuse(let refusal):
                throw .refusal(partition, refusal, group: settings.group, store: settings.storeName)
            case .resume(let resume):
                if resume.isTrusted, let last = resume.last {
                    services.log.warning(
                        "the object that the committed offset names is gone from the store: going on after it",
                        ["object": .init(last.key), "end": .init(last.end)])
                }
                if let gap = resume.gap {
                    services.log.warning(
                        "going on after a gap that was accepted",
                        [
                            "topic": .init(topic), "partition": .init(asked.partition), "from": .init(gap.lowerBound),
                            "to": .init(gap.upperBound),
                        ])
                }
                // Who put objects before may have ended before their hours were sealed again. An offset that says nothing of them is of an
                // older version, or was set by hand: then at least the last one's hour is looked at.
                if known.sameStore || known.samePin { board.takeOver(partition, known.note?.unsealed ?? HourSet()) }
                if let last = resume.last, let hour = SourceHour(key: last.key, topic: topic) {
                    board.stored(partition, hour, now: services.clock.monotonic())
                }
                writer.resume(resume, pin: pin.id)
                context.memory.ran()
            }
        }
        noteWhetherReady()
    }

    private func askLater(_ asked: StoreJob.Asked, of partition: TopicPartition, _ failure: SinkFailure) {
        services.state.failed("kafka", kind: "bounds")
        services.state.update { $0.sinkError = "\(partition) cannot be read: its ends are not known" }
        services.log.warning(
            "the ends of a partition cannot be asked for, another attempt follows",
            ["partition": .init(partition), "error": .init(failure.reason)])
        asksLater.append((services.clock.monotonic() &+ .seconds(20), partition.topic, asked))
    }

    /// Asks again for what could not be answered.
    func askAgain() {
        guard !asksLater.isEmpty else { return }
        let due = Dictionary(grouping: asksLater.filter { $0.at <= context.now }, by: \.topic)
        for (topic, asks) in due { queue.push(.resolve(topic: topic, asks.map(\.asked))) }
        asksLater.removeAll { $0.at <= context.now }
    }

    /// The sink works: it knows where each of its partitions is read, or others have all of them.
    private func noteWhetherReady() {
        guard !writers.values.contains(where: { $0.phase == .resolving }) else { return }
        // Two clients of their own, which nobody needs until the next assignment.
        admin = nil
        context.memory.ran()
        services.state.update { $0.sinkError = nil }
    }

    private func bounds(of partition: TopicPartition) throws(SinkFailure) -> PartitionBounds {
        guard let bounds = try bounds(of: [partition])[partition] else {
            throw .retry(component: "kafka", reason: "\(partition) does not exist")
        }
        return bounds
    }

    private func bounds(of partitions: [TopicPartition]) throws(SinkFailure) -> [TopicPartition: PartitionBounds] {
        do throws(KafkaError) {
            if admin == nil { admin = try KafkaAdmin(settings.kafka, events: services.kafkaEvents) }
            return try admin?.bounds(of: partitions, timeout: .seconds(3)) ?? [:]
        } catch { throw .kafka(error) }
    }

    /// Takes the consumer where its partitions are to be read.
    func seek() throws(SinkFailure) {
        let until = services.clock.monotonic() &+ Self.awayFromGroup
        for writer in writers.values {
            guard case .seeking(let offset) = writer.phase, writer.seeksFrom <= context.now else { continue }
            guard services.clock.monotonic() < until else { return }
            do throws(KafkaError) {
                try consumer.seek(to: PartitionOffset(writer.partition, offset: offset), timeout: .seconds(2))
                writer.sought()
            } catch {
                // Right after an assignment the fetcher may not have started yet.
                let isMissing = error.reason == .unknownTopic
                guard error.name == "_STATE" || isMissing || error.disposition == .retriable else {
                    throw .kafka(error)
                }
                // Others are not to wait for it at each turn.
                if isMissing { writer.seeksFrom = services.clock.monotonic() &+ .seconds(2) }
                services.log.debug("seek", ["partition": .init(writer.partition), "error": .init(error)])
            }
        }
    }

    /// What is not to be read now stands still.
    func applyPauses() throws(SinkFailure) {
        var wanted = ignored
        for writer in writers.values where isPressed || writer.phase == .resolving { wanted.insert(writer.partition) }
        guard wanted != paused else { return }
        let (stop, go) = (wanted.subtracting(paused), paused.subtracting(wanted))
        do throws(KafkaError) {
            if !stop.isEmpty { try consumer.pause(stop.sorted()) }
            if !go.isEmpty { try consumer.resume(go.sorted()) }
        } catch { throw .kafka(error) }
        paused = wanted
    }

    private func failed(_ error: KafkaError, _ partition: TopicPartition?) throws(SinkFailure) {
        switch error.reason {
        case .offsetOutOfRange:
            guard let partition, let writer = writers[partition] else { return }
            guard writer.phase == .reading, let position = consumer.position(of: partition) else { return }
            let bounds = try bounds(of: partition)
            // A record that is only looked for is in an object already.
            if position < bounds.low, writer.continuity.isChecking {
                guard let next = writer.continuity.next, next >= bounds.low else { throw .kafka(error) }
                return writer.skipCheck(to: next)
            }
            if position < bounds.low {
                try salvage(
                    before: .refusal(
                        partition, .lost(position...(bounds.low - 1)), group: settings.group, store: settings.storeName)
                )
            }
            if position > bounds.high {
                throw .refusal(
                    partition, .shorter(end: bounds.high, stored: position), group: settings.group,
                    store: settings.storeName)
            }
            throw .kafka(error)
        case .unknownTopic:
            // It may be made again, with another log: that shows where the last record is looked for.
            if let partition, let next = consumer.position(of: partition) {
                writers[partition]?.checkAgain(before: next, vanished: true)
            }
            services.log.log(
                .info, "a topic does not exist yet", throttle: unknownTopics, ["error": .init(error)])
        default:
            services.state.failed("kafka", kind: error.name)
            guard error.disposition == .retriable else { throw .kafka(error) }
            services.log.debug("kafka consumer", ["error": .init(error)])
        }
    }
}
