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

    /// The properties that the guarantees rest on, and why none of them is the user's.
    static let ownedProperties: [String: String] = [
        "bootstrap.servers": "set kafka.brokers",
        "metadata.broker.list": "set kafka.brokers",
        "transactional.id": "it follows from name",
        "transaction.timeout.ms": "set kafka.transaction.timeout",
        "group.id": "it follows from name",
        "enable.idempotence": "exactly once rests on it",
        "acks": "exactly once rests on it",
        "request.required.acks": "exactly once rests on it",
        "max.in.flight": "order rests on it",
        "max.in.flight.requests.per.connection": "order rests on it",
        "retries": "exactly once rests on it",
        "message.send.max.retries": "exactly once rests on it",
        "enable.gapless.guarantee": "order rests on it",
        "message.timeout.ms": "it follows from kafka.transaction.timeout",
        "delivery.timeout.ms": "it follows from kafka.transaction.timeout",
        "partitioner": "keys are placed as the Java clients place them",
        "isolation.level": "the sink reads committed records only",
        "enable.auto.commit": "the sink commits after an object is durable",
        "auto.commit.enable": "the sink commits after an object is durable",
        "enable.auto.offset.store": "the sink commits after an object is durable",
        "auto.offset.reset": "a lost range must be an error",
        "enable.partition.eof": "the sink relies on it",
        "allow.auto.create.topics": "sluice creates its topics with settings of its own",
        "topic.metadata.refresh.sparse": "sluice pins the partition count",
        "log_level": "a connection that is lost must be seen",
        "log.connection.close": "a connection that is lost must be seen",
    ]

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
