/// What holds between keys, once each of them is right by itself.
struct CrossChecks {
    let context: ReadingContext

    func run(on configuration: Configuration) {
        checkTransaction(configuration)
        checkTopics(configuration)
        checkLimits(configuration)
    }

    private func checkTransaction(_ configuration: Configuration) {
        let (batch, split) = (configuration.kafka.transaction, configuration.kafka.split)
        if context.isSound("kafka.transaction.timeout", "kafka.split.age"), batch.timeout <= split.age {
            context.report(
                "kafka.transaction.timeout",
                "must be longer than kafka.split.age (\(TimeSpan.text(split.age))), is \(TimeSpan.text(batch.timeout)): "
                    + "the broker would abort a transaction that is still being filled")
        }
        if context.isSound("kafka.transaction.interval", "kafka.split.age"), batch.interval >= split.age {
            context.report(
                "kafka.transaction.interval", "must be shorter than kafka.split.age (\(TimeSpan.text(split.age)))")
        }
        if context.isSound("kafka.transaction.rows", "kafka.split.rows"), split.rows < batch.rows {
            context.report("kafka.split.rows", "must be kafka.transaction.rows (\(batch.rows)) or more")
        }
        if context.isSound("kafka.transaction.bytes", "kafka.split.bytes"), split.bytes < batch.bytes {
            context.report(
                "kafka.split.bytes", "must be kafka.transaction.bytes (\(ByteSize.text(batch.bytes))) or more")
        }
    }

    private func checkTopics(_ configuration: Configuration) {
        guard context.isSound("kafka.topic", "postgres.tables", "name") else { return }
        let (template, tables, name) = (configuration.kafka.topic, configuration.postgres.tables, configuration.name)
        let severalTables = tables.count > 1 || tables.contains { !$0.isLiteral }
        if severalTables, !template.contains(.table) {
            context.report(
                "kafka.topic",
                "must hold {table}: more than one table may be published, and two on one topic are refused")
            return
        }
        if configuration.s3 != nil, let table = tables.first(where: { !template.tellsApart($0) }) {
            context.report(
                "kafka.topic",
                "\(template) and \(table) tell the topics of these tables from no others: the sink would take every topic of the cluster "
                    + "that matches for its own, and write it to the store; put text or {name} into it, such as \"{name}.{table}\", "
                    + "or name the tables one by one")
        }
        var seen = [TopicTemplate.collisionKey("sluice.\(name).progress"): "the progress topic"]
        if let topic = configuration.kafka.deadLetterTopic {
            let key = TopicTemplate.collisionKey(topic)
            if !topic.contains(name) {
                context.report(
                    "kafka.dead_letter_topic",
                    "must hold the agent's name, \(name): what an agent left unfinished in its topics is ended by the next one, so no other may write there"
                )
            }
            if seen[key] != nil || key == TopicTemplate.collisionKey("\(name).message") {
                context.report(
                    "kafka.dead_letter_topic",
                    "\(topic) is the topic of positions or of logical messages, or differs from it only in . and _")
            }
            seen[key] = "kafka.dead_letter_topic"
        }
        for table in tables where table.isLiteral {
            let topic = template.topic(name: name, schema: table.schema, table: table.table)
            guard TopicTemplate.hasNamesLength(topic) else {
                context.report(
                    "kafka.topic",
                    "the topic of \(table) would be \"\(topic)\"; Kafka allows 1 to 249 characters, and neither . nor .."
                )
                continue
            }
            if let other = seen[TopicTemplate.collisionKey(topic)] {
                context.report(
                    "kafka.topic",
                    "the topic of \(table) would be \(topic), which is that of \(other), or differs from it only in . and _"
                )
            }
            seen[TopicTemplate.collisionKey(topic)] = "\(table)"
        }
    }

    private func checkLimits(_ configuration: Configuration) {
        let (limits, batch) = (configuration.limits, configuration.kafka.transaction)
        if context.isSound("limits.memory", "kafka.transaction.bytes"), batch.bytes > limits.memory / 2 {
            context.report(
                "kafka.transaction.bytes",
                "must be at most half of limits.memory (\(ByteSize.text(limits.memory))): one batch is filled while the last one commits"
            )
        }
        if let s3 = configuration.s3, context.isSound("limits.spool", "s3.rotate.bytes"), s3.rotate.bytes > limits.spool
        {
            context.report("s3.rotate.bytes", "must be at most limits.spool (\(ByteSize.text(limits.spool)))")
        }
    }
}
