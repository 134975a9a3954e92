internal import CKafka

/// Wakes librdkafka's fetcher while its queue is emptied.
///
/// Where a queue is full, the fetcher waits for a second, however soon there is room: 2.2 made that a property
/// (`fetch.queue.backoff.ms`), before it was fixed, and a small queue means a few megabytes a second. But the fetcher looks again
/// whenever its broker's thread has something to do, so a question to the broker of the partition wakes it: one for each
/// quarter of the queue that was taken out, and one when a partition is to be read again.
///
/// The broker answers a connection's questions in turn, so at the end of the log this one would wait behind the fetch that
/// waits there for new records, and the reader with it. It is not asked where nothing is left to be fetched: the fetcher is not
/// asleep then, or may sleep.
struct FetcherAlarm {
    /// Whether the library has the property.
    static var isBuiltIn: Bool { rd_kafka_version() >= 0x0202_00FF }

    private let interval: Int
    private var taken = 0

    init(queueBytes: Int) { interval = Self.isBuiltIn ? .max : max(64 << 10, queueBytes / 4) }

    /// A record was taken out of the queue.
    @inline(__always)
    mutating func took(_ message: MessageBatch.Message, from batch: borrowing MessageBatch) {
        taken &+= message.pointee.len &+ message.pointee.key_len
        if taken >= interval { look(message, batch) }
    }

    /// A partition is to be read again after it stood still.
    static func resumed(_ partition: TopicPartition, of client: borrowing ClientHandle) {
        guard !isBuiltIn else { return }
        ring(partition.topic, partition.partition, client)
    }

    @inline(never)
    private mutating func look(_ message: MessageBatch.Message, _ batch: borrowing MessageBatch) {
        taken = 0
        guard let topic = message.pointee.rkt, let name = rd_kafka_topic_name(topic) else { return }
        var low: Int64 = 0
        var high: Int64 = 0
        // As the last fetch has seen the end: asks nobody. Marks of transactions lie between the records, and are not queued.
        let code = rd_kafka_get_watermark_offsets(
            batch.client.pointer, name, message.pointee.partition, &low, &high)
        let queued = Int64(batch.remaining)
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR || high - message.pointee.offset > queued + queued / 16 + 64 else {
            return
        }
        Self.ring(String(cString: name), message.pointee.partition, batch.client)
    }

    private static func ring(_ topic: String, _ partition: Int32, _ client: borrowing ClientHandle) {
        let end = TopicPartitionList([
            PartitionOffset(TopicPartition(topic, partition), offset: Int64(RD_KAFKA_OFFSET_END))
        ])
        // Whatever it answers: the question alone has woken the thread. (`rd_kafka_query_watermark_offsets` heeds no time here.)
        _ = end.pass { rd_kafka_offsets_for_times(client.pointer, $0, 100) }
    }
}
