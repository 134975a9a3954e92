import Kafka
import Telemetry
import Threads

/// Makes the topics that are missing, as the design says, and refuses those that would lose rows.
final class TopicMaker {
    private let settings: StreamSettings
    let admin: KafkaAdmin
    private let log: Logger
    /// The settings of topics that were there when `known` was asked, each for the first time that it is needed.
    private var described: [String: [String: String]] = [:]
    /// The largest batch that any topic takes which was looked at, bytes.
    private var largestLimit = TopicMaker.defaultLimit
    /// The largest batch that brokers take whatever a topic says, bytes: it is one request; nil until it is asked for.
    private(set) var requestLimit: Int?
    private static let timeout = Duration.seconds(30)
    /// A broker's own default of `max.message.bytes`.
    private static let defaultLimit = 1_048_588

    init(_ settings: StreamSettings, events: KafkaEvents, log: Logger) throws(KafkaError) {
        self.settings = settings
        self.log = log
        admin = try KafkaAdmin(settings.kafka, events: events)
    }

    /// Why a topic cannot be used.
    enum Problem: Error {
        case kafka(KafkaError)
        case refused(AgentExit)

        var failure: SessionFailure {
            switch self {
            case .kafka(let error): StreamFailures.session(error)
            case .refused(let exit): .exit(exit)
            }
        }

        /// The end of a command.
        var exit: AgentExit {
            switch self {
            case .kafka(let error): CommandErrors.exit(error)
            case .refused(let exit): exit
            }
        }
    }

    /// Makes the topic if it is missing; answers the bytes that it takes of one batch.
    /// - Parameter original: a topic that one that is made resembles: as many partitions, so that each record finds its own
    ///   again, and as large records.
    func ensure(_ name: String, like original: String? = nil) throws(Problem) -> Int {
        if let configuration = described.removeValue(forKey: name) { return try judge(name, configuration) }
        do throws(KafkaError) {
            if try admin.partitionCount(of: name, timeout: Self.timeout) == nil {
                try make(data(name, like: original))
                try awaitTopic(name)
            }
        } catch { throw .kafka(error) }
        return try judge(name)
    }

    /// Whether `ensure` needs to ask nobody about a topic.
    func hasDescribed(_ name: String) -> Bool { described[name] != nil }

    /// What is known of topics before a record names them.
    struct Known {
        /// The largest batch that any of them takes, bytes: of those that may be described.
        var largestLimit: Int
        /// The smallest, bytes.
        var smallestLimit = Int.max
        /// The partitions of those that exist.
        var partitions: [TopicPartition] = []
    }

    func known(_ names: [String]) throws(KafkaError) -> Known {
        var known = Known(largestLimit: Self.defaultLimit)
        let counts = try admin.partitionCounts(of: names, timeout: Self.timeout)
        known.partitions = counts.flatMap { name, count in (0..<count).map { TopicPartition(name, $0) } }
        described = try admin.configurations(ofTopics: counts.keys.sorted(), Self.judged, timeout: Self.timeout)
        for configuration in described.values {
            known.smallestLimit = min(known.smallestLimit, try limit(configuration))
        }
        known.largestLimit = largestLimit
        return known
    }

    /// A topic that was just made is known to one broker after the other.
    private func awaitTopic(_ name: String) throws(KafkaError) {
        let wakeup = Wakeup()
        do throws(KafkaError) {
            for _ in 0..<100 {
                if try admin.partitionCount(of: name, timeout: Self.timeout) != nil { break }
                wakeup.wait(milliseconds: 100)
            }
            _ = try configuration(of: name)
        } catch {
            // Describing needs a right that creating does not.
            guard error.reason == .authorization else { throw error }
        }
    }

    /// Makes the progress topic if it is missing, and refuses one that would lose the position.
    func ensureProgress() throws(Problem) {
        let name = settings.progressTopic
        do throws(KafkaError) {
            if try admin.partitionCount(of: name, timeout: Self.timeout) == nil {
                try make(
                    NewTopic(
                        name, partitions: 1, replicationFactor: Int32(settings.replicationFactor),
                        configuration: [
                            "cleanup.policy": "compact", "min.insync.replicas": "\(minimumISR)",
                            "segment.bytes": "16777216", "message.timestamp.type": "CreateTime",
                        ]))
                try awaitTopic(name)
            }
        } catch { throw .kafka(error) }
        try judgeProgress()
    }

    /// Refuses a progress topic that would lose the position, made by somebody else or by a broker: an agent that is off for longer
    /// than its retention would find none. Nothing is said of one that is missing.
    func judgeProgress() throws(Problem) {
        let fault: (what: String, cure: String)?
        do throws(KafkaError) {
            fault = try faultOfProgress()
        } catch {
            // Describing needs a right that producing does not; and what was just made another broker may not know.
            guard error.reason != .authorization, error.reason != .unknownTopic else { return }
            throw .kafka(error)
        }
        guard let fault else { return }
        throw .refused(
            AgentExit(.configuration, "topic \(settings.progressTopic) \(fault.what)", hints: [fault.cure]))
    }

    /// What is wrong with the progress topic, and what rights it; nil also where there is none.
    func faultOfProgress() throws(KafkaError) -> (what: String, cure: String)? {
        let name = settings.progressTopic
        guard let partitions = try admin.partitionCount(of: name, timeout: Self.timeout) else { return nil }
        if let policy = try admin.configuration(ofTopic: name, timeout: Self.timeout)["cleanup.policy"],
            policy != "compact"
        {
            return (
                "has cleanup.policy=\(policy): the position in it would be deleted",
                "kafka-configs.sh --bootstrap-server BROKERS --alter --topic \(name) --add-config cleanup.policy=compact"
            )
        }
        guard partitions != 1 else { return nil }
        return (
            "has \(partitions) partitions, and needs one: positions have an order",
            "kafka-topics.sh --bootstrap-server BROKERS --delete --topic \(name), then sluice init (before anything was written to it)"
        )
    }

    /// Whether nothing was ever written to a topic.
    func isEmpty(_ name: String, partitions: Int32) throws(KafkaError) -> Bool {
        for partition in 0..<partitions {
            let bounds = try admin.bounds(of: TopicPartition(name, partition), timeout: Self.timeout)
            if bounds.high > 0 { return false }
        }
        return true
    }

    /// Whether a topic is there; never makes it.
    func partitions(of name: String) throws(KafkaError) -> Int32? {
        try admin.partitionCount(of: name, timeout: Self.timeout)
    }

    private var minimumISR: Int { max(1, Int(settings.replicationFactor) - 1) }

    private func data(_ name: String, like original: String?) throws(KafkaError) -> NewTopic {
        var partitions = settings.partitions
        var configuration = [
            "cleanup.policy": "delete", "retention.ms": "604800000", "message.timestamp.type": "CreateTime",
            "min.insync.replicas": "\(minimumISR)",
        ]
        // What is wrong with a row is put right by a person, in their own time.
        if name == settings.deadLetterTopic {
            configuration["retention.ms"] = "-1"
            configuration["retention.bytes"] = "-1"
            // As large a row as any table may have, in base 64.
            if largestLimit > Self.defaultLimit { configuration["max.message.bytes"] = "\(2 * largestLimit)" }
        }
        if let original, let count = try admin.partitionCount(of: original, timeout: Self.timeout) {
            partitions = count
            do throws(KafkaError) {
                let limit = try admin.configuration(ofTopic: original, timeout: Self.timeout)["max.message.bytes"]
                if let limit, limit != "\(Self.defaultLimit)" { configuration["max.message.bytes"] = limit }
            } catch {
                guard error.reason == .authorization else { throw error }
            }
        }
        return NewTopic(
            name, partitions: partitions, replicationFactor: Int32(settings.replicationFactor),
            configuration: configuration)
    }

    private func make(_ topic: NewTopic) throws(KafkaError) {
        switch try admin.createTopics([topic], timeout: Self.timeout)[topic.name] {
        case .created:
            log.info("created a topic", ["topic": .init(topic.name), "partitions": .init(topic.partitions)])
        case .failed(let error): throw error
        case .existed, nil: break
        }
    }

    /// The settings that `judge` looks at.
    private static let judged: Set<String> = ["cleanup.policy", "min.insync.replicas", "max.message.bytes"]

    /// A compacted data topic loses history; one that a single broker may lose deserves a warning.
    private func judge(_ name: String) throws(Problem) -> Int {
        let configuration: [String: String]
        do throws(KafkaError) {
            configuration = try self.configuration(of: name)
        } catch {
            // Describing needs a right that producing does not.
            guard error.reason == .authorization else { throw .kafka(error) }
            log.warning("may not read a topic's settings", ["topic": .init(name)])
            return Self.defaultLimit
        }
        return try judge(name, configuration)
    }

    /// The settings of a topic that is there: a broker that has not heard of it yet is asked again, or another one.
    private func configuration(of name: String) throws(KafkaError) -> [String: String] {
        let wakeup = Wakeup()
        for _ in 0..<100 {
            do throws(KafkaError) { return try admin.configuration(ofTopic: name, timeout: Self.timeout) } catch {
                guard error.reason == .unknownTopic else { throw error }
            }
            wakeup.wait(milliseconds: 100)
        }
        return try admin.configuration(ofTopic: name, timeout: Self.timeout)
    }

    private func judge(_ name: String, _ configuration: [String: String]) throws(Problem) -> Int {
        if let policy = Compaction.policy(configuration) {
            throw .refused(
                AgentExit(
                    .configuration,
                    "topic \(name) has cleanup.policy=\(policy): compaction would delete rows that are still needed",
                    hints: [
                        Compaction.cure(name),
                        "choose another name with \(name == settings.deadLetterTopic ? "kafka.dead_letter_topic" : "kafka.topic")",
                    ]))
        }
        if configuration["min.insync.replicas"] == "1" {
            log.warning("one broker alone can acknowledge, and lose, rows", ["topic": .init(name)])
        }
        do throws(KafkaError) { return try limit(configuration) } catch { throw .kafka(error) }
    }

    private func limit(_ configuration: [String: String]) throws(KafkaError) -> Int {
        var limit = configuration["max.message.bytes"].flatMap { Int($0) } ?? Self.defaultLimit
        // A broker closes the connection on a request that is too large, and says nothing: it would be sent for ever.
        if limit > Self.defaultLimit {
            if requestLimit == nil { requestLimit = try askRequestLimit() }
            limit = min(limit, requestLimit ?? limit)
        }
        largestLimit = max(largestLimit, limit)
        return limit
    }

    /// What a produce request has beside its batch, bytes, and some to spare.
    private static let requestOverhead = 4096

    private func askRequestLimit() throws(KafkaError) -> Int {
        do throws(KafkaError) {
            let limit = try admin.configuration(ofBroker: nil, timeout: Self.timeout)["socket.request.max.bytes"]
            return max(Self.defaultLimit, limit.flatMap { Int($0) }.map { $0 - Self.requestOverhead } ?? .max)
        } catch {
            // Describing a broker needs a right of its own.
            guard error.reason == .authorization else { throw error }
            return .max
        }
    }
}
