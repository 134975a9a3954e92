import Dates
import Kafka
import ObjectStorage

/// Seals the hours of the topics whose first partition this worker has, one manifest an hour (C6).
///
/// 1. The position in the progress topic says of what source's clock all is in Kafka. It is read when an hour should have passed.
/// 2. Then, and not before, the ends of the log are asked for; and each partition must be in objects up to there (`SealDecision`).
/// 3. The objects of the hour are listed, and a manifest that names them is put if none is there.
///
/// An object that comes later for a sealed hour is sealed by another revision. The hours that may lack one are told of with the
/// partition's committed offset, so that whoever has it next sees to them. Nothing waits for the sealer: what fails is tried again.
final class HourSealer {
    /// What is known of a topic that is ours to seal.
    private struct Topic {
        /// The first hour without a manifest; nil before one was found.
        var next: SourceHour?
        /// Whether the store was asked for its manifests.
        var isKnown = false
        /// The ends of its log when this hour was known to have passed. Kept until they are reached: a sink that is behind by more
        /// than an hour would never reach ends that move.
        var ends: (passed: SourceHour, of: [TopicPartition: (low: Int64, high: Int64)])?
        /// When its objects were last listed to be sealed, monotonic nanoseconds.
        var listedAt: Int64 = .min
    }

    /// How far back the store is asked first.
    private static let recentHours: Int64 = 48
    /// How many hours before the one that is sealed are looked at again: what another worker has put late, and told nobody of.
    private static let recheckedHours: Int64 = 2
    /// For how long an object of a passed hour that has no manifest yet is looked at as often as others.
    private static let patience: Int64 = .seconds(7200)
    /// How many hours of a topic that has no manifest yet are sealed at once, the latest ones; those before them as late ones are. One
    /// commit that is dated years back would else keep today's hours from being sealed.
    private static let hoursAtOnce: Int64 = 200
    /// How many late hours are seen to at a time: those that have just passed are not to wait for more.
    private static let lateAtOnce = 200

    let settings: SinkSettings
    let services: StreamServices
    let board: HourBoard
    private var topics: [String: Topic] = [:]
    /// Of one look.
    private var firstFailure: SinkFailure?
    private(set) var clock: SourceClock
    private var log: LogEnds
    private var nextLate: Int64 = 0

    init(_ settings: SinkSettings, _ services: StreamServices, _ board: HourBoard) {
        self.settings = settings
        self.services = services
        self.board = board
        clock = SourceClock(settings, services)
        log = LogEnds(settings, services)
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
                services.log.warning("hours could not be sealed, another look follows", ["error": .init(error.reason)])
                pause = 10_000
            }
        }
    }

    private func look() throws(SinkFailure) {
        let reach = board.reach
        guard !reach.isEmpty else {
            // Whoever has them meanwhile may have left something.
            topics = [:]
            return
        }
        try clock.read()
        guard let passed = clock.passed else { return }
        board.pass(passed)
        let ours = Set(reach.keys.filter { $0.partition == 0 }.map(\.topic))
        topics = topics.filter { ours.contains($0.key) }
        for name in ours where topics[name] == nil { topics[name] = Topic() }
        firstFailure = nil
        func isDue(_ name: String) -> Bool {
            topics[name].map { $0.isKnown && $0.next.map { $0 <= passed } ?? true } ?? false
        }
        // Most looks find nothing to do, and need no store.
        let unknown = ours.filter { topics[$0]?.isKnown == false }.sorted()
        let late = late(until: passed)
        guard !unknown.isEmpty || !late.isEmpty || ours.contains(where: isDue) else {
            log.close()
            return
        }
        do throws(StorageError) {
            let ledger = HourLedger(store: try ObjectStore(settings.store, abort: board.abort))
            for name in unknown {
                attempt { () throws(SinkFailure) in try takeUp(name, until: passed, ledger) }
            }
            seal(ours.filter(isDue).sorted(), until: passed, ledger)
            seal(late, ledger)
        } catch { throw .store(error, settings.storeName) }
        if let firstFailure { throw firstFailure }
    }

    /// What fails for one topic keeps no other from being sealed.
    private func attempt(_ body: () throws(SinkFailure) -> Void) {
        do throws(SinkFailure) { try body() } catch { firstFailure = firstFailure ?? error }
    }

    /// Calls to the store.
    private func storing<T>(_ body: () throws(StorageError) -> T) throws(SinkFailure) -> T {
        do throws(StorageError) { return try body() } catch {
            throw .retry(component: "s3", reason: error.description)
        }
    }

    /// Seals what is complete of topics that have hours to seal.
    private func seal(_ due: [String], until passed: SourceHour, _ ledger: HourLedger) {
        guard !due.isEmpty else {
            log.close()
            return
        }
        for name in due where topics[name]?.ends == nil {
            attempt { () throws(SinkFailure) in topics[name]?.ends = (passed, try log.ends(of: name)) }
        }
        // Asked for after the ends: what was held then, and is not now, has been put.
        let reach = board.reach
        // One in which nothing ever was has nothing to be told.
        let others = due.flatMap { name in
            topics[name]?.ends?.of.compactMap { reach[$0] == nil && $1.high > 0 ? $0 : nil } ?? []
        }
        var committed: [TopicPartition: Int64] = [:]
        if !others.isEmpty {
            attempt { () throws(SinkFailure) in committed = try log.committed(others) }
        }
        for name in due {
            guard var topic = topics[name], let ends = topic.ends,
                SealDecision.isComplete(ends.passed, ends: ends.of, reach: reach, committed: committed)
            else { continue }
            attempt { () throws(SinkFailure) in
                try seal(name, &topic, until: ends.passed, ledger)
                topic.ends = nil
                topics[name] = topic
            }
        }
    }

    private func seal(
        _ name: String, _ topic: inout Topic, until passed: SourceHour, _ ledger: HourLedger
    ) throws(SinkFailure) {
        try storing { () throws(StorageError) in
            topic.listedAt = services.clock.monotonic()
            var hour: SourceHour
            if let next = topic.next { hour = next } else { hour = try first(of: name, until: passed, ledger) }
            for before in max(0, hour.number - Self.recheckedHours)..<max(0, hour.number) {
                try seal(SourceHour(before), of: name, ledger, .again)
            }
            while hour <= passed, !services.stop.isRequested, !board.isClosed {
                try seal(hour, of: name, ledger)
                hour = hour.next
            }
            topic.next = hour
            services.state.sealed(name, until: hour.start)
        }
    }

    /// The first hour that is sealed where none was: nothing is said of hours before the first row, or before the first look. (A client
    /// may set a commit time to any year: no hour was before PostgreSQL decoded rows.)
    private func first(
        of name: String, until passed: SourceHour, _ ledger: HourLedger
    ) throws(StorageError) -> SourceHour {
        let first = try ledger.revisions(of: name, from: nil).keys.filter { $0 > SourceHour.beginning }.min()
        // Not one that is still to come: a commit may be dated ahead.
        try board.witness.check(name, in: ledger.store)
        let begin = min(first ?? passed.next, passed.next)
        let start = max(begin, SourceHour(passed.next.number - Self.hoursAtOnce))
        // Told of with the offset of a partition that has one.
        let ours = board.reach.filter { $0.key.topic == name }.max { $0.value.readTo < $1.value.readTo }
        if begin < start, let before = HourSet(bounds: [begin.number, start.number - 1]) {
            // Else nobody would come back to them: those that are empty are in no note of an offset.
            guard let ours else {
                throw StorageError(.transient, "list", key: "\(name)/", "the topic is another worker's by now")
            }
            board.takeOver(ours.key, before)
        }
        return start
    }

    /// Finds where sealing goes on, and seals what somebody who was killed has left: objects that came late.
    private func takeUp(_ name: String, until passed: SourceHour, _ ledger: HourLedger) throws(SinkFailure) {
        let next: SourceHour? = try storing { () throws(StorageError) in
            let recent = SourceHour(passed.number - Self.recentHours)
            var found = try ledger.revisions(of: name, from: recent)
            if !found.values.contains(where: { $0 > 0 }) { found = try ledger.revisions(of: name, from: nil) }
            try board.witness.check(name, in: ledger.store)
            guard let last = found.filter({ $0.value > 0 }).keys.max() else { return nil }
            let first = SourceHour(last.number - Self.recentHours)
            if first < recent { found = try ledger.revisions(of: name, from: first) }
            for hour in found.keys.sorted() where hour <= last && hour > first { try seal(hour, of: name, ledger) }
            return last.next
        }
        topics[name]?.isKnown = true
        topics[name]?.next = next
        // Also where nothing can be sealed for long: who watches it must see that.
        if let next { services.state.sealed(name, until: next.start) }
    }

    /// Hours that have passed and that objects were put for: where one has a manifest, it must name them.
    private func late(until passed: SourceHour) -> [(late: HourBoard.Late, at: Int64)] {
        let now = services.clock.monotonic()
        guard now >= nextLate else { return [] }
        let due = board.due(until: passed, now: now, most: Self.lateAtOnce)
        if due.count < Self.lateAtOnce { nextLate = now &+ .seconds(10) }
        return due
    }

    private func seal(_ late: [(late: HourBoard.Late, at: Int64)], _ ledger: HourLedger) {
        // The newest first; of topics that are another worker's to seal the oldest, behind which the first is that none is sealed after.
        let others = late.filter { topics[$0.late.topic] == nil }.reversed()
        var unsealed: [String: SourceHour] = [:]
        for (one, at) in late.filter({ topics[$0.late.topic] != nil }) + others
        where !services.stop.isRequested && !board.isClosed {
            let now = services.clock.monotonic()
            board.postpone(one, until: now &+ .seconds(5))
            let topic = topics[one.topic]
            if let topic {
                // Not sealed yet: that will name it.
                guard let next = topic.next, one.hour < next else { continue }
                // It was there when the hour was sealed, or looked at again.
                if at < topic.listedAt, one.hour.number >= next.number - Self.recheckedHours {
                    board.settle(one, putAt: at)
                    continue
                }
            }
            if let first = unsealed[one.topic], one.hour > first { continue }
            attempt { () throws(SinkFailure) in
                // Of a topic that is another worker's to seal, an hour without a manifest is left to that one.
                let isSealed = try storing { () throws(StorageError) in
                    try seal(one.hour, of: one.topic, ledger, topic == nil ? .again : .late)
                }
                if isSealed {
                    board.settle(one, putAt: at)
                    return
                }
                if topic == nil { unsealed[one.topic] = one.hour }
                if now &- at >= Self.patience {
                    // Where nothing was sealed for long, nothing will be soon.
                    board.postpone(one, until: now &+ .seconds(600))
                }
            }
        }
    }
}
