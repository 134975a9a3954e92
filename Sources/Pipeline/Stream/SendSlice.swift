/// How much is given to the Kafka client before it is told to send and waited for: a batch of each partition.
///
/// librdkafka (2.0.2 and 2.16) has one batch of a partition on its way at a time, though five are allowed, and while the next
/// one is complete it does not sleep but looks again at once: that took a third of its thread's time, and the brokers got
/// smaller batches. Given no more than it can send, it sleeps until the answer.
package struct SendSlice: Equatable, Sendable {
    /// Bytes of one batch of one partition, as `batch.size` counts them.
    private let batch: Int
    /// Bytes by topic.
    private var bytes: [Int] = []
    private var total = 0

    /// What a record takes in a batch beside its parts, at most (KIP-98: lengths, deltas, the counts and names of headers).
    package static let overhead = 96

    package init(batch: Int) { self.batch = batch }

    /// Whether what was given must be sent before a record is given too.
    /// - Parameters:
    ///   - partitions: how many the topic has.
    ///   - size: the record's bytes, with its overhead.
    ///   - most: bytes of all topics that may be given.
    package func isFull(for topic: Int, of partitions: Int32, adding size: Int, most: Int) -> Bool {
        guard total > 0 else { return false }
        if total + size > most { return true }
        guard topic < bytes.count, bytes[topic] > 0 else { return false }
        return bytes[topic] + size > limit(partitions)
    }

    /// A record was given.
    package mutating func add(_ size: Int, to topic: Int) {
        if topic >= bytes.count { bytes.append(contentsOf: repeatElement(0, count: topic - bytes.count + 1)) }
        bytes[topic] += size
        total += size
    }

    /// All that was given is sent.
    package mutating func reset() {
        guard total > 0 else { return }
        total = 0
        for index in bytes.indices { bytes[index] = 0 }
    }

    /// Keys do not fall evenly: where there are several partitions, one gets more than its share.
    private func limit(_ partitions: Int32) -> Int { partitions <= 1 ? batch : batch / 4 * 3 * Int(partitions) }
}
