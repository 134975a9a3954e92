internal import CKafka

/// Wakes librdkafka's fetcher while its queue is emptied.
///
/// Where a queue is full, the fetcher waits for a second, however soon there is room: 2.2 made that a property
/// (`fetch.queue.backoff.ms`), before it was fixed, and a small queue means a few megabytes a second. But the fetcher looks again
/// whenever its broker's thread has something to do, so a question to the broker of the partition wakes it: one for each
/// quarter of the queue that was taken out.
struct FetcherAlarm {
    /// Whether the library has the property.
    static var isBuiltIn: Bool { rd_kafka_version() >= 0x0202_00FF }

    private let interval: Int
    private var taken = 0

    init(queueBytes: Int) { interval = Self.isBuiltIn ? .max : max(64 << 10, queueBytes / 4) }

    /// A record was taken out of the queue.
    @inline(__always)
    mutating func took(_ message: MessageBatch.Message, from client: borrowing ClientHandle) {
        taken &+= message.pointee.len &+ message.pointee.key_len
        if taken >= interval { ring(message, client) }
    }

    @inline(never)
    private mutating func ring(_ message: MessageBatch.Message, _ client: borrowing ClientHandle) {
        taken = 0
        guard let topic = message.pointee.rkt, let name = rd_kafka_topic_name(topic) else { return }
        var low: Int64 = 0
        var high: Int64 = 0
        // Whatever it answers: the question alone has woken the thread.
        _ = rd_kafka_query_watermark_offsets(client.pointer, name, message.pointee.partition, &low, &high, 100)
    }
}
