/// What a transactional producer is bounded by.
public struct ProducerOptions: Sendable {
    /// The `transactional.id`: one producer of a name may live at a time, the newer fences the older.
    public var transactionalID: String
    /// After this long without an end the coordinator aborts a transaction. At most the brokers' `transaction.max.timeout.ms`.
    public var transactionTimeout: Duration
    /// Bytes of records that may wait in the client; past it `produce` answers `.queueFull`. Rounded up to 1 KiB.
    public var queueBytes: Int
    /// The most bytes of one batch, before compression. The topics' `max.message.bytes` counts a batch, not a record: keep
    /// this below the smallest of them, less 1 KiB for the batch's own fields.
    public var batchBytes: Int
    /// The most bytes of one record; what a topic takes of it is the brokers' decision, after compression.
    public var recordBytes: Int
    /// How long a batch waits for more records. Neither a flush nor a commit waits for it. Long, since nobody sees a record before
    /// the commit, and librdkafka spins on a batch that is due while the one before it in its partition is on its way.
    public var linger: Duration

    /// Defaults are for 50,000 records of a kilobyte in a transaction.
    public init(
        transactionalID: String, transactionTimeout: Duration = .seconds(60), queueBytes: Int = 64 << 20,
        batchBytes: Int = 1_000_000, recordBytes: Int = 256 << 20, linger: Duration = .seconds(1)
    ) {
        self.transactionalID = transactionalID
        self.transactionTimeout = transactionTimeout
        self.queueBytes = queueBytes
        self.batchBytes = batchBytes
        self.recordBytes = recordBytes
        self.linger = linger
    }

    func apply(to configuration: borrowing ClientConfiguration, _ settings: KafkaSettings) throws(KafkaSettings.Refusal)
    {
        if !settings.sets("compression.type", "compression.codec") {
            try configuration.set("compression.type", "lz4")
        }
        if !settings.sets("linger.ms", "queue.buffering.max.ms") {
            try configuration.set("linger.ms", "\(linger.milliseconds)")
        }
        // The default of 10,000 records would cut small rows into small batches.
        if !settings.sets("batch.num.messages") { try configuration.set("batch.num.messages", "1000000") }
        try configuration.set("transactional.id", transactionalID)
        try configuration.set("transaction.timeout.ms", "\(transactionTimeout.milliseconds)")
        try configuration.set("enable.idempotence", "true")
        try configuration.set("acks", "all")
        try configuration.set("queue.buffering.max.kbytes", "\(max(1, (queueBytes + 1023) >> 10))")
        try configuration.set("queue.buffering.max.messages", "10000000")
        try configuration.set("batch.size", "\(batchBytes)")
        try configuration.set("message.max.bytes", "\(min(1_000_000_000, max(1000, recordBytes)))")
        // Every value is copied into its request: once a record is off the queue nothing refers to a borrowed value.
        try configuration.set("message.copy.max.bytes", "1000000000")
        // Reports of what was delivered wake a flush, and a commit flushes: without them it looks every 10 ms.
        try configuration.set("delivery.report.only.error", "false")
    }
}
