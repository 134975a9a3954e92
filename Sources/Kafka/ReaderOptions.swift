/// What a reader's memory is bounded by.
public struct ReaderOptions: Sendable {
    /// Bytes of fetched records that may wait in the client, over all partitions. One fetch beyond it may be under way.
    public var queueBytes: Int
    /// The most bytes of one fetch over all partitions of a broker. A larger single batch of records is still fetched.
    public var fetchBytes: Int
    /// The most bytes of one fetch of one partition.
    public var partitionFetchBytes: Int
    /// The most records that one call takes from the client's queue.
    public var batchRecords: Int
    /// Whether only committed records are shown. False is for diagnosis.
    public var committedOnly: Bool

    /// Defaults are for throughput in about 32 MiB.
    public init(
        queueBytes: Int = 16 << 20, fetchBytes: Int = 16 << 20, partitionFetchBytes: Int = 4 << 20,
        batchRecords: Int = 1000, committedOnly: Bool = true
    ) {
        self.queueBytes = queueBytes
        self.fetchBytes = fetchBytes
        self.partitionFetchBytes = partitionFetchBytes
        self.batchRecords = batchRecords
        self.committedOnly = committedOnly
    }

    func apply(to configuration: borrowing ClientConfiguration, _ settings: KafkaSettings) throws(KafkaSettings.Refusal)
    {
        let fetchBytes = min(max(fetchBytes, partitionFetchBytes, 1024), 1 << 30)
        try configuration.set("isolation.level", committedOnly ? "read_committed" : "read_uncommitted")
        try configuration.set("enable.auto.commit", "false")
        // Brokers do not look at what they send: a bit that has turned on their disks would go to the store.
        if !settings.sets("check.crcs") { try configuration.set("check.crcs", "true") }
        try configuration.set("enable.auto.offset.store", "false")
        try configuration.set("auto.offset.reset", "error")
        try configuration.set("enable.partition.eof", "true")
        try configuration.set("queued.max.messages.kbytes", "\(max(1, (queueBytes + 1023) >> 10))")
        try configuration.set("queued.min.messages", "1000000")
        try configuration.set("fetch.max.bytes", "\(fetchBytes)")
        try configuration.set("fetch.message.max.bytes", "\(min(max(1, partitionFetchBytes), 1_000_000_000))")
        // A batch of records larger than a fetch must still be received.
        try configuration.set("receive.message.max.bytes", "\(max(fetchBytes + 1_000_000, 1_100_000_000))")
        if FetcherAlarm.isBuiltIn {
            try configuration.set("fetch.queue.backoff.ms", "5")
        } else if !settings.sets("fetch.wait.max.ms") {
            // What a question to the broker may wait behind a fetch at the end of the log: the default is 500 ms.
            try configuration.set("fetch.wait.max.ms", "100")
        }
        // At an end of a partition the next look comes soon: the default is 500 ms where nothing is new.
        try configuration.set("fetch.error.backoff.ms", "100")
    }
}
