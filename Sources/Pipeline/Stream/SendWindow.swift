/// How much the Kafka client is given before its answers are waited for.
///
/// librdkafka (2.0.2 to 2.16) has one batch of a partition on its way at a time, though five are allowed. It begins with it by
/// itself when the partition has a batch of bytes, or is told by a flush to send all that it has; and while a flush goes on it
/// does not sleep where a batch waits for the one before, but looks again at once, which takes a third of its thread's time. So:
///
/// - of the open transaction's first records a partition gets less than a batch, and they are flushed: nothing may be sent on
///   before one of them was acknowledged (`EndInDoubt`);
/// - then it gets more than a batch: one on its way, the next one filling. Nothing is flushed before the commit, and by then no
///   partition may have a whole one.
package struct SendWindow: Equatable, Sendable {
    /// Bytes of keys and values from which on the client sends a partition's records by itself: its `batch.size`.
    package let batch: Int

    /// What a record takes in the client beside its key and value: a place in a queue, headers.
    package static let overhead = 192

    package init(batch: Int) { self.batch = batch }

    /// What to do before a record is given.
    package enum Step: Equatable, Sendable {
        case give
        /// Wait for what the client sends by itself.
        case listen
        /// Have it send all that it has, and wait for that.
        case flush
    }

    /// - Parameters:
    ///   - size: the bytes of the record's key and value.
    ///   - partition: what its partition has, not reported on.
    ///   - partitions: how many its topic has.
    ///   - all: what all partitions have, with the overhead of each record.
    ///   - most: bytes that all may have.
    ///   - isFollowed: whether a record of the open transaction was acknowledged.
    package func step(
        adding size: Int, to partition: Int, of partitions: Int32, all: Int, most: Int, isFollowed: Bool
    ) -> Step {
        guard all > 0 else { return .give }
        if all + size + Self.overhead > most { return .flush }
        guard partition > 0 else { return .give }
        guard isFollowed else { return partition + size > batch / 4 * 3 ? .flush : .give }
        guard partition + size > limit(size, partitions) else { return .give }
        return partition >= batch ? .listen : .flush
    }

    /// Of small records in one partition a quarter of a batch is enough to fill while another is on its way, and what is in the
    /// client stays in a processor's cache (a second batch cost 0.3 CPU seconds a million records). Keys do not fall evenly over
    /// several partitions: two batches, so that not all wait for the one that has most. Of large records several.
    private func limit(_ size: Int, _ partitions: Int32) -> Int {
        partitions > 1 ? 2 * batch : batch + max(batch / 4, 4 * size)
    }
}
