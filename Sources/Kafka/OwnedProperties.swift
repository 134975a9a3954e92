extension KafkaSettings {
    /// The properties that the user may not set, each with the reason to tell him. Both names of a property stand here. Configuration
    /// says the same of them in terms of its keys: a test holds the names equal.
    public static let owned: [String: String] = {
        let groups: [(reason: String, names: [String])] = [
            ("the brokers have a key of their own", ["bootstrap.servers", "metadata.broker.list"]),
            ("the name of the agent decides it", ["client.id", "transactional.id", "group.id", "group.instance.id"]),
            (
                "exactly-once delivery needs it as it is",
                [
                    "enable.idempotence", "enable.gapless.guarantee", "acks", "request.required.acks",
                    "isolation.level",
                    "max.in.flight", "max.in.flight.requests.per.connection", "retries", "message.send.max.retries",
                ]
            ),
            (
                "the transaction's time-out decides it",
                ["transaction.timeout.ms", "message.timeout.ms", "delivery.timeout.ms", "request.timeout.ms"]
            ),
            (
                "records of one key must meet those of other producers in one partition",
                ["partitioner", "msg_order_cmp", "queuing.strategy"]
            ),
            (
                "offsets are committed by the reader, after the records are safe",
                [
                    "enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms", "enable.auto.offset.store",
                    "offset.store.method", "offset.store.path", "offset.store.sync.interval.ms", "auto.offset.reset",
                    "topic.auto.offset.reset",
                ]
            ),
            (
                "the assignment of partitions is part of how objects are written once",
                [
                    "partition.assignment.strategy", "group.protocol", "group.remote.assignor", "group.protocol.type",
                    "enable.partition.eof",
                ]
            ),
            (
                "the limits on memory and the topics' own limits decide it",
                [
                    "queue.buffering.max.messages", "queue.buffering.max.kbytes", "message.max.bytes",
                    "message.copy.max.bytes", "batch.size", "queued.min.messages", "queued.max.messages.kbytes",
                    "fetch.max.bytes", "fetch.message.max.bytes", "max.partition.fetch.bytes",
                    "receive.message.max.bytes",
                ]
            ),
            (
                "topics are created by init, with a partition count that is pinned",
                ["allow.auto.create.topics", "topic.metadata.refresh.sparse"]
            ),
            (
                "it is used inside",
                [
                    "log.queue", "delivery.report.only.error", "dr_cb", "dr_msg_cb", "opaque", "default_topic_conf",
                    "enabled_events", "produce.offset.report", "consume.callback.max.messages", "open_cb",
                    "statistics.interval.ms", "internal.termination.signal", "log.thread.name",
                ]
            ),
            ("a connection that is lost must be seen", ["log_level", "log.connection.close"]),
            ("it would load foreign code into the agent", ["plugin.library.paths"]),
            ("it would replace the brokers by imitations", ["test.mock.num.brokers", "test.mock.broker.rtt"]),
        ]
        var reasons: [String: String] = [:]
        for group in groups {
            for name in group.names { reasons[name] = group.reason }
        }
        return reasons
    }()
}
