internal import CKafka

/// Messages taken from a queue in one call and given out one by one; what is not given out stays for the next poll.
struct MessageBatch: ~Copyable {
    typealias Message = UnsafeMutablePointer<rd_kafka_message_t>

    /// Owned here so that the queue is always freed before the client.
    let client: ClientHandle
    private let queue: OpaquePointer
    private let buffer: UnsafeMutableBufferPointer<Message?>
    private var head = 0
    private var count = 0

    /// Takes over the client and a queue of it.
    init(_ client: consuming ClientHandle, owning queue: OpaquePointer, capacity: Int) {
        self.client = client
        self.queue = queue
        buffer = UnsafeMutableBufferPointer.allocate(capacity: max(1, capacity))
        buffer.initialize(repeating: nil)
    }

    deinit {
        for message in buffer[head..<count] { rd_kafka_message_destroy(message) }
        buffer.deallocate()
        rd_kafka_queue_destroy(queue)
    }

    /// Messages that were fetched and not yet given out, over all partitions.
    var remaining: Int { count - head + Int(rd_kafka_queue_length(queue)) }

    /// The next message, which the caller destroys.
    mutating func next() -> Message? {
        guard head < count else { return nil }
        defer { head += 1 }
        return buffer[head]
    }

    /// Takes what is there, up to `most`, without waiting (librdkafka's wait is for a full batch, not for a first message).
    /// False where there was nothing.
    mutating func fill(upTo most: Int) -> Bool {
        head = 0
        let most = min(max(1, most), buffer.count)
        count = max(0, rd_kafka_consume_batch_queue(queue, 0, buffer.baseAddress, most))
        return count > 0
    }

    /// Waits for one message. False where none came, or where a callback has asked to return.
    mutating func wait(_ poll: (_ queue: OpaquePointer) -> Message?) -> Bool {
        head = 0
        count = 0
        guard let message = poll(queue) else { return false }
        buffer[0] = message
        count = 1
        return true
    }

    /// Drops the messages that match, and says whether there were any.
    mutating func drop(where matches: (Message) -> Bool) -> Bool {
        var kept = head
        for index in head..<count {
            guard let message = buffer[index] else { continue }
            if matches(message) {
                rd_kafka_message_destroy(message)
            } else {
                buffer[kept] = message
                kept += 1
            }
        }
        defer { count = kept }
        return kept < count
    }
}
