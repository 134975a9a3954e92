import Kafka
import ObjectStorage
import Telemetry

/// Seals the hours of the topics whose first partition this worker has, one manifest an hour (C6).
///
/// 1. The position in the progress topic says of what source's clock all is in Kafka. It is read when an hour should have passed.
/// 2. Then, and not before, the ends of the log are asked for; and each partition must be in objects up to there (`SealDecision`).
/// 3. The objects of the hour are listed, and a manifest that names them is put if none is there.
///
/// An object that comes later for a sealed hour is sealed by another revision; a worker that was killed in between finds it at
/// its next start. Nothing waits for the sealer: what fails is tried again at the next look.
final class HourSealer {
    /// What is known of a topic that is ours to seal.
    private struct Topic {
        /// The first hour without a manifest; nil before the store was asked.
        var next: SourceHour?
        /// The ends of its log when this hour was known to have passed.
        var ends: (passed: SourceHour, of: [TopicPartition: (low: Int64, high: Int64)])?
    }

    /// How far back the store is asked first.
    private static let recentHours: Int64 = 48
    /// 2014, with PostgreSQL 9.4.
    private static let beginning = SourceHour(ofMicroseconds: 1_388_534_400_000_000)
    /// For how long an object of a passed hour is looked at again where the hour has no manifest yet.
    private static let patience: Int64 = .seconds(7200)

    private let settings: SinkSettings
    private let services: StreamServices
    private let board: HourBoard
    private var topics: [String: Topic] = [:]
    /// The source's clock, and when it was read, by ours.
    private var clock: Int64 = 0
    private var readAt: Int64?
    private var nextLate: Int64 = 0
    /// As long as there are hours to seal.
    private var admin: KafkaAdmin?

    init(_ settings: SinkSettings, _ services: StreamServices, _ board: HourBoard) {
        self.settings = settings
        self.services = services
        self.board = board
    }

    /// Looks now and then until the sink ends.
    func run() {
        services.stop.register(board.wakeup)
        defer { services.stop.unregister(board.wakeup) }
        var pause = 1000
        while !board.isClosed, !services.stop.isRequested {
            board.wakeup.wait(milliseconds: pause)
            guard !board.isClosed, !services.stop.isRequested else { return }
            pause = 1000
            do throws(SinkFailure) {
                try look()
            } catch {
                // Told each time: somebody may wait for the hour.
                services.state.failed("hours", kind: "seal")
                services.log.warning("hours could not be sealed, another look follows", ["error": .init("\(error)")])
                pause = 10_000
            }
        }
    }

    private func look() throws(SinkFailure) {
        let reach = board.reach
        guard !reach.isEmpty else { return }
        try readClock()
        guard clock > 0 else { return }
        let passed = SealDecision.passed(clock: clock, grace: settings.sealAfter)
        board.pass(passed)
        let ours = Set(reach.keys.filter { $0.partition == 0 }.map(\.topic))
        topics = topics.filter { ours.contains($0.key) }
        try seal(ours.filter { topics[$0]?.next.map { $0 <= passed } ?? true }.sorted(), until: passed)
        try sealLate()
    }

    /// Seals what is complete of topics that have hours to seal.
    private func seal(_ due: [String], until passed: SourceHour) throws(SinkFailure) {
        guard !due.isEmpty else {
            admin = nil
            return
        }
        for name in due where topics[name]?.ends?.passed != passed {
            topics[name, default: Topic()].ends = (passed, try ends(of: name))
        }
        // Asked for after the ends: what was held then, and is not now, has been put.
        let reach = board.reach
        let others = due.flatMap { topics[$0]?.ends?.of.keys.filter { reach[$0] == nil } ?? [] }
        let committed = others.isEmpty ? [:] : try committed(others)
        do throws(StorageError) {
            let ledger = HourLedger(store: try ObjectStore(settings.store, abort: board.abort))
            for name in due {
                guard var topic = topics[name], let ends = topic.ends?.of,
                    SealDecision.isComplete(passed, ends: ends, reach: reach, committed: committed)
                else { continue }
                try seal(name, &topic, until: passed, ledger)
                topics[name] = topic
            }
        } catch { throw .retry(component: "s3", reason: error.description) }
    }

    // MARK: Kafka

    /// Reads the source's clock when by our own another hour should have passed, and now and then, since ours may be wrong.
    private func readClock() throws(SinkFailure) {
        let now = services.clock.monotonic()
        let due = SealDecision.passed(clock: clock, grace: settings.sealAfter).next.next.start &+ settings.sealAfter
        let isDue = clock == 0 || services.clock.wall() / 1000 >= due
        guard readAt.map({ now &- $0 >= (isDue ? .seconds(5) : .seconds(300)) }) ?? true else { return }
        readAt = now
        do throws(KafkaError) {
            let store = try ProgressStore(
                settings.kafka, topic: settings.progressTopic, key: settings.progressKey, events: services.kafkaEvents)
            guard case .position(let position) = try store.readIfThere(timeout: .seconds(10)).found else { return }
            clock = max(clock, position.clock)
        } catch { throw .kafka(error) }
    }

    private func openAdmin() throws(KafkaError) -> KafkaAdmin {
        if let admin { return admin }
        let made = try KafkaAdmin(settings.kafka, events: services.kafkaEvents)
        admin = made
        return made
    }

    private func ends(of topic: String) throws(SinkFailure) -> [TopicPartition: (low: Int64, high: Int64)] {
        do throws(KafkaError) {
            let admin = try openAdmin()
            var ends: [TopicPartition: (low: Int64, high: Int64)] = [:]
            for number in 0..<(try admin.partitionCount(of: topic, timeout: .seconds(10)) ?? 0) {
                let partition = TopicPartition(topic, number)
                let bounds = try admin.bounds(of: partition, timeout: .seconds(10))
                ends[partition] = (bounds.low, bounds.high)
            }
            return ends
        } catch { throw .kafka(error) }
    }

    /// What the group has of partitions that other workers read.
    private func committed(_ partitions: [TopicPartition]) throws(SinkFailure) -> [TopicPartition: Int64] {
        let storeID: String
        do throws(StorageError) { storeID = try settings.storeID() } catch { throw .store(error, settings.storeName) }
        do throws(KafkaError) {
            let offsets = try openAdmin().committedOffsets(of: settings.group, partitions, timeout: .seconds(10))
                // One of before `s3.url` was changed says nothing of this store.
                .filter { offset in
                    offset.metadata.flatMap(OffsetNote.init(json:)).map { $0.store == storeID } ?? true
                }
            return Dictionary(offsets.map { ($0.partition, $0.offset) }, uniquingKeysWith: max)
        } catch { throw .kafka(error) }
    }

    // MARK: The store

    private func seal(
        _ name: String, _ topic: inout Topic, until passed: SourceHour, _ ledger: HourLedger
    ) throws(StorageError) {
        var hour: SourceHour
        if let next = topic.next { hour = next } else { hour = try takeUp(name, until: passed, ledger) }
        while hour <= passed, !services.stop.isRequested, !board.isClosed {
            try seal(hour, of: name, ledger)
            hour = hour.next
        }
        topic.next = hour
        services.state.sealed(name, until: hour.start)
    }

    /// Finds where sealing goes on, and seals what somebody who was killed has left: objects that came late.
    private func takeUp(
        _ name: String, until passed: SourceHour, _ ledger: HourLedger
    ) throws(StorageError) -> SourceHour {
        var found = try ledger.revisions(of: name, from: SourceHour(passed.number - Self.recentHours))
        if !found.values.contains(where: { $0 > 0 }) { found = try ledger.revisions(of: name, from: nil) }
        guard let last = found.filter({ $0.value > 0 }).keys.max() else {
            // Nothing is said of hours before the first row, or before the first look. (A client may set a commit time to any
            // year: no hour was before PostgreSQL decoded rows.)
            return found.keys.filter { $0 > Self.beginning }.min() ?? passed.next
        }
        let first = SourceHour(last.number - Self.recentHours)
        for hour in found.keys.sorted() where hour <= last && hour > first { try seal(hour, of: name, ledger) }
        return last.next
    }

    /// Puts a manifest that names every object of an hour, unless there is one.
    /// - Parameter onlyAgain: nothing is done where no manifest is there at all; then the answer is false.
    @discardableResult
    private func seal(
        _ hour: SourceHour, of name: String, _ ledger: HourLedger, onlyAgain: Bool = false
    ) throws(StorageError) -> Bool {
        // Another worker may put one meanwhile: then it is looked at again.
        for _ in 0..<3 {
            let found = try ledger.hour(hour, of: name)
            if onlyAgain, found.revision == 0 { return false }
            if found.revision > 0, let there = try ledger.manifest(name, hour, revision: found.revision) {
                let gone = there.keys.subtracting(found.keys)
                if !gone.isEmpty { loses(gone, of: name, hour) }
                // A revision that does not name them would hide the loss.
                if !gone.isEmpty || there.keys.isSuperset(of: found.keys) { return true }
            }
            let manifest = HourManifest(
                topic: name, hour: hour, revision: found.revision + 1, clock: clock,
                entries: try ledger.entries(found.keys, of: name))
            let key = HourManifest.key(topic: name, hour: hour, revision: manifest.revision)
            if settings.conditional == .off, try ledger.store.head(key) != nil { continue }
            let result = try ledger.store.put(
                key, body: .bytes(Array(manifest.json.utf8)),
                condition: settings.conditional == .off ? .none : .ifAbsent)
            guard case .created = result else { continue }
            services.log.info(
                manifest.revision == 1 ? "an hour is sealed" : "an hour is sealed again: rows came late",
                [
                    "topic": .init(name), "hour": .init(ISOTime.text(microseconds: hour.start)),
                    "objects": .init(found.keys.count), "revision": .init(manifest.revision),
                ])
            return true
        }
        return true
    }

    private func loses(_ keys: Set<String>, of name: String, _ hour: SourceHour) {
        services.state.failed("hours", kind: "objects-gone")
        services.log.error(
            "objects of a sealed hour are gone from the store: the hour is not sealed again",
            [
                "topic": .init(name), "hour": .init(ISOTime.text(microseconds: hour.start)),
                "objects": .init(keys.count), "first": .init(keys.min() ?? ""),
            ])
    }

    /// Objects of hours that had passed already: where the hour has a manifest, it must name them.
    private func sealLate() throws(SinkFailure) {
        let now = services.clock.monotonic()
        guard now >= nextLate else { return }
        nextLate = now &+ .seconds(10)
        let late = board.takeLate()
        guard !late.isEmpty else { return }
        var kept: [HourBoard.Late: Int64] = [:]
        do throws(StorageError) {
            let ledger = HourLedger(store: try ObjectStore(settings.store, abort: board.abort))
            for (one, at) in late {
                // Ours and not sealed yet: that will name it.
                if let topic = topics[one.topic], topic.next.map({ one.hour >= $0 }) ?? true {
                    kept[one] = at
                    continue
                }
                // Of a topic that is another worker's to seal, an hour without a manifest is left to that one.
                if try !seal(one.hour, of: one.topic, ledger, onlyAgain: topics[one.topic] == nil),
                    now &- at < Self.patience
                {
                    kept[one] = at
                }
            }
            board.keep(kept)
        } catch {
            board.keep(late)
            throw .retry(component: "s3", reason: error.description)
        }
    }
}
