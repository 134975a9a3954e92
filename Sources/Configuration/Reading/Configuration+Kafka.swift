extension Configuration {
    static func readKafka(_ section: Section) -> Kafka {
        let transaction = section.section("transaction")
        let split = section.section("split")
        return Kafka(
            brokers: readBrokers(section),
            topic: readTopic(section),
            deadLetterTopic: section.parsed(
                "dead_letter_topic", allowed: "the name of a topic: 1 to 249 of A-Z a-z 0-9 . _ -", readTopicName),
            partitions: section.integer("partitions", 1...10_000),
            replicationFactor: section.integer("replication_factor", 1...100),
            client: readClient(section.section("client", open: true)),
            transaction: Transaction(
                rows: transaction.integer("rows", 1...Int.max),
                bytes: transaction.size("bytes", 1...Int.max),
                interval: transaction.duration("interval", to: .seconds(60)),
                // librdkafka holds it in milliseconds, as a 32-bit number.
                timeout: transaction.duration("timeout", from: .seconds(1), to: .milliseconds(2_147_483_647))),
            split: Split(
                rows: split.integer("rows", 1...Int.max),
                bytes: split.size("bytes", 1...Int.max),
                age: split.duration("age", from: .milliseconds(1))))
    }

    private static func readBrokers(_ section: Section) -> [String] {
        guard section.has("brokers") else {
            section.missing("brokers")
            return []
        }
        let texts = section.list("brokers", commas: true)
        for text in texts {
            guard let (_, port) = HostAndPort.split(text.text), port != 0 else {
                let hint = text.text.contains("://") ? "; the protocol is kafka.client's security.protocol" : ""
                section.report("brokers", "\"\(text.shown)\" is not host:port\(hint)")
                continue
            }
        }
        if texts.isEmpty { section.report("brokers", "names no broker\(section.hint("brokers"))") }
        return texts.map { text in
            guard let (_, port) = HostAndPort.split(text.text), port == nil else { return text.text }
            return "\(text.text):9092"
        }
    }

    private static func readTopic(_ section: Section) -> TopicTemplate {
        let template = section.scalar("topic")
        do throws(TopicTemplate.Malformed) {
            return try TopicTemplate(parsing: template?.text ?? "{table}")
        } catch {
            section.report("topic", error.message)
            return TopicTemplate.tableAlone
        }
    }

    private static func readTopicName(_ text: String) -> String? {
        TopicTemplate.hasNamesLength(text) && text == TopicTemplate.sanitized(text) ? text : nil
    }

    /// The properties that are not the user's, and why. Module Kafka refuses the same ones (`KafkaSettings.owned`): here they are told of
    /// with their line and all else that is wrong, in terms of keys, and a test holds the names equal.
    static let ownedGroups: [(reason: String, names: [String])] = [
        ("set kafka.brokers", ["bootstrap.servers", "metadata.broker.list"]),
        ("it follows from name", ["client.id", "transactional.id", "group.id", "group.instance.id"]),
        ("set kafka.transaction.timeout", ["transaction.timeout.ms"]),
        (
            "it follows from kafka.transaction.timeout",
            ["message.timeout.ms", "delivery.timeout.ms", "request.timeout.ms"]
        ),
        (
            "exactly once rests on it",
            ["enable.idempotence", "acks", "request.required.acks", "retries", "message.send.max.retries"]
        ),
        (
            "order rests on it",
            [
                "max.in.flight", "max.in.flight.requests.per.connection", "enable.gapless.guarantee",
                "queuing.strategy",
                "msg_order_cmp",
            ]
        ),
        ("keys are placed as the Java clients place them", ["partitioner"]),
        ("the sink reads committed records only", ["isolation.level"]),
        (
            "the sink commits after an object is durable",
            [
                "enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms", "enable.auto.offset.store",
                "offset.store.method", "offset.store.path", "offset.store.sync.interval.ms",
            ]
        ),
        ("a lost range must be an error", ["auto.offset.reset", "topic.auto.offset.reset"]),
        (
            "how partitions are shared is part of how objects are written once",
            [
                "partition.assignment.strategy", "group.protocol", "group.remote.assignor", "group.protocol.type",
                "enable.partition.eof",
            ]
        ),
        (
            "it follows from limits.memory and the topics' own limits",
            [
                "queue.buffering.max.messages", "queue.buffering.max.kbytes", "message.max.bytes",
                "message.copy.max.bytes", "batch.size", "queued.min.messages", "queued.max.messages.kbytes",
                "fetch.max.bytes", "fetch.message.max.bytes", "max.partition.fetch.bytes", "receive.message.max.bytes",
            ]
        ),
        ("sluice creates its topics with settings of its own", ["allow.auto.create.topics"]),
        ("sluice pins the partition count", ["topic.metadata.refresh.sparse"]),
        (
            "sluice uses it itself",
            [
                "log.queue", "delivery.report.only.error", "dr_cb", "dr_msg_cb", "open_cb", "opaque",
                "default_topic_conf", "enabled_events", "produce.offset.report", "consume.callback.max.messages",
                "statistics.interval.ms", "internal.termination.signal", "log.thread.name",
            ]
        ),
        ("a connection that is lost must be seen", ["log_level", "log.connection.close"]),
        ("it would load foreign code into the agent", ["plugin.library.paths"]),
        ("it would replace the brokers by imitations", ["test.mock.num.brokers", "test.mock.broker.rtt"]),
    ]

    static let ownedProperties: [String: String] = Dictionary(
        ownedGroups.flatMap { group in group.names.map { ($0, group.reason) } }, uniquingKeysWith: { first, _ in first }
    )

    private static func readClient(_ section: Section) -> [ClientProperty] {
        var properties: [ClientProperty] = []
        for key in section.keys {
            let name = key.hasSuffix("_file") ? String(key.dropLast("_file".count)) : key
            guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                section.report(key, "is not a librdkafka property")
                continue
            }
            if let reason = ownedProperties[name] {
                section.report(key, "belongs to sluice: \(reason)")
                continue
            }
            if name != key && section.has(name) {
                section.report(key, "given together with \(name); leave one of them out")
                continue
            }
            guard section.context.purpose != .status else { continue }
            let value: Secret? = name == key ? section.text(key).map { Secret($0) } : section.secret(name, wanted: true)
            if let value { properties.append(ClientProperty(name: name, value: value)) }
        }
        return properties
    }
}

extension TopicTemplate {
    /// Stands in for a template that was refused.
    static let tableAlone = TopicTemplate(description: "{table}", parts: [.placeholder(.table)])

    private init(description: String, parts: [Part]) {
        self.description = description
        self.parts = parts
    }
}
