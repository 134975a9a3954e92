internal import CKafka

/// The loop that turns a client's queue into records and events, shared by the reader of given partitions and the group's.
///
/// A class, so that what shows a record may ask its reader about the partition, or pause it: no access is open meanwhile.
final class RecordSource {
    var batch: MessageBatch
    var table = PartitionTable()

    private var alarm: FetcherAlarm

    init(_ batch: consuming MessageBatch, queueBytes: Int) {
        self.batch = batch
        alarm = FetcherAlarm(queueBytes: queueBytes)
    }

    /// Shows up to `most` records, and none after those whose values reach `bytes` together; returns an event where there is one, else
    /// nil: when so much was shown, when none are left after some were, or when `timeout` has passed without any. A record whose `body`
    /// throws counts as shown.
    func poll<E>(
        upTo most: Int, bytes: Int = .max, timeout: Duration,
        wait: (_ queue: OpaquePointer, Int32) -> MessageBatch.Message?,
        _ body: (borrowing ConsumedRecord) throws(E) -> Void
    ) throws(E) -> ReaderEvent? {
        let deadline = Deadline(after: timeout)
        var shown = 0
        var taken = 0
        while true {
            while shown < most, taken < bytes, let message = batch.next() {
                // The record is done with when `body` returns or throws.
                defer { rd_kafka_message_destroy(message) }
                if message.pointee.err != RD_KAFKA_RESP_ERR_NO_ERROR {
                    if let event = event(of: message) { return event }
                } else if let slot = table.admit(message) {
                    shown += 1
                    taken &+= message.pointee.len
                    alarm.took(message, from: batch)
                    try body(ConsumedRecord(message: message, slot: slot))
                }
            }
            guard shown < most, taken < bytes else { return nil }
            // After the messages that were taken together with it, or before it.
            if let event = nextRebalance() { return event }
            if batch.fill(upTo: most - shown) { continue }
            if let event = nextRebalance() { return event }
            guard shown == 0 else { return nil }
            if batch.wait({ wait($0, deadline.milliseconds) }) { continue }
            if let event = nextRebalance() { return event }
            guard !deadline.hasPassed else { return nil }
        }
    }

    private func event(of message: MessageBatch.Message) -> ReaderEvent? {
        let code = message.pointee.err
        let slot = table.slot(of: message)
        if code == RD_KAFKA_RESP_ERR__PARTITION_EOF {
            guard let slot, table.next(of: table[partition: slot]) != nil else { return nil }
            return .partitionEnd(table[partition: slot], offset: message.pointee.offset)
        }
        let text = rd_kafka_message_errstr(message).map { String(cString: $0) }
        guard let error = KafkaError(code, operation: "read", detail: text) else { return nil }
        return .error(error, slot.map { table[partition: $0] })
    }

    private func nextRebalance() -> ReaderEvent? {
        switch batch.client.context.nextRebalance() {
        case .assigned(let partitions): .assigned(partitions)
        case .revoked(let partitions, lost: false): .revoked(partitions)
        case .revoked(let partitions, lost: true): .lost(partitions)
        case .failed(let error): .error(error, nil)
        case nil: nextVanished()
        }
    }

    /// Of partitions that are still read.
    private func nextVanished() -> ReaderEvent? {
        while let (partition, error) = batch.client.context.nextVanished() {
            if table.next(of: partition) != nil { return .error(error, partition) }
        }
        return nil
    }
}
