import Kafka

/// The source's clock of which all is in Kafka, as the progress topic says it (C6).
struct SourceClock {
    private let settings: SinkSettings
    private let services: StreamServices
    /// Microseconds since 1970; 0 before it is known.
    private(set) var time: Int64 = 0
    /// When it was read, by our own monotonic clock.
    private var readAt: Int64?

    init(_ settings: SinkSettings, _ services: StreamServices) {
        self.settings = settings
        self.services = services
    }

    /// The last hour that has passed by it; nil before it is known.
    var passed: SourceHour? { time > 0 ? SealDecision.passed(clock: time, grace: settings.sealAfter) : nil }

    /// Reads it when by our own clock another hour should have passed, and now and then, since ours may be wrong.
    mutating func read() throws(SinkFailure) {
        let now = services.clock.monotonic()
        let due = SealDecision.passed(clock: time, grace: settings.sealAfter).next.next.start &+ settings.sealAfter
        let isDue = time == 0 || services.clock.wall() / 1000 >= due
        guard readAt.map({ now &- $0 >= (isDue ? .seconds(5) : .seconds(300)) }) ?? true else { return }
        readAt = now
        do throws(KafkaError) {
            let store = try ProgressStore(
                settings.kafka, topic: settings.progressTopic, key: settings.progressKey, events: services.kafkaEvents)
            guard case .position(let position) = try store.readIfThere(timeout: .seconds(10)).found else { return }
            // A commit may be dated ahead, by its origin or by a clock that was wrong for a moment: no hour has passed before it has.
            time = max(time, min(position.clock, services.clock.wall() / 1000 &+ settings.sealAfter))
        } catch { throw .kafka(error) }
    }
}
