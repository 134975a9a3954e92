import ChangeData
import Kafka
import ObjectStorage
import Telemetry
import Threads

/// One membership in the consumer group, from joining to the first failure that ends it.
///
/// This thread alone owns the consumer and all that grows; the store's threads put what is complete. The order that makes C5 hold:
///
/// 1. a partition is read after the end of its last object in the store (`ResumeDecision`), and its ranges follow each other;
/// 2. an object is put under a name that its first record alone determines, if nothing is there (`ClaimDecision`);
/// 3. only then is the next object of the partition put, and the offset committed. Nothing depends on that commit: it saves
///    the next worker a listing.
final class SinkSession {
    let context: SinkContext
    let consumer: GroupConsumer
    private let workers: [WorkerThread]
    /// By partition; and by the consumer's slot, for records.
    var writers: [TopicPartition: PartitionWriter] = [:]
    private var slots: [PartitionWriter?] = []
    var paused: Set<TopicPartition> = []
    /// Partitions of topics that are none of ours.
    var ignored: Set<TopicPartition> = []
    /// What the group said of the partitions when they were given.
    var facts: [TopicPartition: (offset: Int64?, note: OffsetNote?)] = [:]
    var isPressed = false
    /// What could not be answered about partitions, and when it is asked again.
    var asksLater: [(at: Int64, topic: String, asked: StoreJob.Asked)] = []
    var admin: KafkaAdmin?
    var nextCommit: Int64 = 0
    private var nextReport: Int64 = 0
    /// When the topics' policies are looked at, monotonic nanoseconds.
    var nextPolicies: Int64 = 0
    private var recordsAtOnce = 1000
    private var silence: BrokerSilence
    let unknownTopics = LogThrottle(every: .seconds(60))

    var settings: SinkSettings { context.settings }
    var services: StreamServices { context.services }
    var queue: StoreQueue { context.queue }

    let board: HourBoard

    init(
        _ settings: SinkSettings, _ services: StreamServices, _ memory: SinkMemory, _ board: HourBoard
    ) throws(SinkFailure) {
        self.board = board
        silence = BrokerSilence(now: services.clock.monotonic())
        let queue = StoreQueue()
        do throws(StorageError) {
            let storeID = try settings.store.digest()
            context = SinkContext(settings, services, memory, queue, storeID: storeID)
            workers = (0..<max(1, settings.uploads)).map { _ in
                WorkerThread(name: "store") {
                    do throws(StorageError) {
                        try StoreClient(settings, services, queue, storeID: storeID, board.witness).run()
                    } catch { queue.answer(.failed(.store(error, settings.storeName))) }
                }
            }
        } catch { throw .store(error, settings.storeName) }
        do throws(KafkaError) {
            consumer = try GroupConsumer(
                settings.kafka, group: settings.group, topics: settings.topics.subscriptions, assignment: .cooperative,
                settings.reader, events: services.kafkaEvents)
        } catch {
            queue.close()
            throw .kafka(error)
        }
    }

    /// Runs until a stop, or until something fails.
    func run() throws(SinkFailure) {
        do throws(SinkFailure) {
            while !services.stop.isRequested { try turn() }
            try drain()
        } catch {
            // Before the client and all else is let go, which takes its time.
            services.state.update { $0.sinkFailed(error) }
            end(within: .seconds(2))
            throw error
        }
        let left = max(.milliseconds(200), (services.stop.deadline ?? 0) &- services.clock.monotonic())
        end(within: .nanoseconds(min(left, .seconds(2))))
    }

    private func turn() throws(SinkFailure) {
        context.now = services.clock.monotonic()
        let isBusy = queue.hasWork || writers.values.contains { $0.phase != .reading }
        var count = 0
        var bytes = 0
        // What one turn can add to memory and disk stays small whatever the size of a record.
        let turn = pressure.turn
        let event = try consumer.poll(
            upTo: recordsAtOnce, bytes: turn, timeout: isBusy ? .milliseconds(20) : .milliseconds(100)
        ) { (record) throws(SinkFailure) in
            count += 1
            bytes += record.value?.count ?? 0
            try writer(of: record)?.take(record)
        }
        // No more are taken from the client's queue than are shown: it would fill again meanwhile.
        if count > 0 { recordsAtOnce = min(2000, max(1, turn / max(1, bytes / count))) }
        context.now = services.clock.monotonic()
        if count > 0 || event != nil { heard() } else { try listen() }
        if let event { try handle(event) }
        try handleResults()
        try look()
        if context.now >= nextReport { report() }
    }

    private var isUnheard = false

    private func heard() {
        silence.heard(now: context.now)
        guard isUnheard else { return }
        isUnheard = false
        services.state.update { $0.sinkFaults.clear(by: .brokers) }
    }

    /// Nothing comes: where that has been so for long, brokers are asked why.
    private func listen() throws(SinkFailure) {
        let action = silence.action(now: context.now)
        guard action != .none else { return }
        do throws(KafkaError) {
            try consumer.ask(timeout: .seconds(5))
            context.now = services.clock.monotonic()
            heard()
        } catch {
            context.now = services.clock.monotonic()
            silence.failed(now: context.now)
            isUnheard = true
            services.state.failed("kafka", kind: "silent")
            services.state.update { $0.sinkFaults.set("the brokers do not answer: \(error)", by: .brokers) }
            if action == .giveUp { throw .kafka(error) }
            services.log.warning("the brokers do not answer the sink", ["error": .init(error)])
        }
    }

    @inline(__always)
    private func writer(of record: borrowing ConsumedRecord) -> PartitionWriter? {
        let slot = record.slot
        if slot < slots.count, let writer = slots[slot] { return writer }
        guard let writer = writers[consumer.topicPartition(at: slot)] else { return nil }
        while slots.count <= slot { slots.append(nil) }
        slots[slot] = writer
        return writer
    }

    /// The partitions have changed.
    func forgetSlots() { slots.removeAll(keepingCapacity: true) }

    /// Ends objects whose time has come, keeps to the bounds, seeks, commits.
    private func look() throws(SinkFailure) {
        let passed = board.passed
        for writer in writers.values { try writer.endIfDue(passed: passed) }
        try lookAtPolicies()
        askAgain()
        try press()
        try seek()
        try applyPauses()
        if context.now >= nextCommit { commit(timeout: .seconds(3)) }
    }

    // MARK: Bounds

    var usage: PressurePolicy.Usage {
        var usage = PressurePolicy.Usage()
        for writer in writers.values {
            if let open = writer.open {
                usage.openMemory += open.memoryBytes
                usage.openSpool += open.spoolBytes
                if open.spool != nil { usage.files += 1 }
            }
            for segment in writer.puts.waiting {
                usage.waitingMemory += segment.memoryBytes
                usage.waitingSpool += segment.spoolBytes
                if segment.spoolBytes > 0 { usage.files += 1 }
            }
        }
        return usage
    }

    private var pressure: PressurePolicy { settings.pressure.leaving(services.state.intakeBytes) }

    private func press() throws(SinkFailure) {
        let policy = pressure
        var decision = policy.judge(usage, isPaused: isPressed)
        while decision.spillsLargest {
            let largest = writers.values.max { ($0.open?.memoryBytes ?? 0) < ($1.open?.memoryBytes ?? 0) }
            guard let largest, largest.open.map({ $0.memoryBytes > 0 }) ?? false else { break }
            try largest.spill()
            decision = policy.judge(usage, isPaused: isPressed)
        }
        if decision.endsLargest {
            let largest = writers.values.max { ($0.open?.spoolBytes ?? 0) < ($1.open?.spoolBytes ?? 0) }
            try largest?.end(.pressure, after: nil)
        }
        context.filesLeft = policy.files - usage.files
        if decision.pauses != isPressed {
            isPressed = decision.pauses
            if isPressed {
                let now = usage
                services.log.info(
                    "reading pauses until objects are put",
                    ["spool_bytes": .init(now.spool), "memory_bytes": .init(now.memory)])
            }
        }
    }

    // MARK: What others see

    func report() {
        nextReport = context.now &+ .milliseconds(500)
        services.state.turned(.sink, now: context.now)
        publishReach()
        let usage = usage
        let partitions = writers.values.map { writer in
            SinkStatus.Partition(
                partition: writer.partition, nextOffset: writer.position,
                endOffset: consumer.knownEnd(of: writer.partition), openBytes: writer.open?.facts.bytes ?? 0,
                hour: writer.open?.hour.number, oldest: writer.oldest, watermark: writer.watermark,
                writtenLSN: writer.puts.last?.object.lastPosition.position.commitLSN)
        }.sorted { $0.partition < $1.partition }
        let (dropped, isPaused) = (context.dropped, isPressed)
        context.dropped = 0
        services.state.update { snapshot in
            snapshot.sink.partitions = partitions
            snapshot.sink.dropped += dropped
            snapshot.sink.spoolBytes = usage.spool
            snapshot.sink.memoryBytes = usage.memory
            snapshot.sink.isPaused = isPaused
        }
    }

    /// Tells the sealer what is in objects.
    private func publishReach() {
        var reach: [TopicPartition: SealDecision.Reach] = [:]
        for (partition, writer) in writers {
            guard writer.phase == .reading, let position = consumer.position(of: partition) ?? writer.endSeen else {
                continue
            }
            reach[partition] = .init(readTo: max(position, writer.endSeen ?? 0), held: writer.earliestHour)
        }
        board.publish(reach)
    }

    /// An object is in the store.
    func sealsLater(_ segment: Segment) {
        board.stored(segment.partition, segment.hour, now: services.clock.monotonic())
    }

    // MARK: The end

    /// Leaves the group and ends the store's threads; what they are in the middle of may still arrive.
    private func end(within time: Duration) {
        queue.close()
        consumer.close(timeout: time / 2)
        report()
        services.state.update { snapshot in
            snapshot.sink.partitions = []
            snapshot.sinkFaults.clear(by: .brokers)
        }
        board.publish([:])
        for worker in workers { _ = worker.join(milliseconds: 1200) }
    }
}
