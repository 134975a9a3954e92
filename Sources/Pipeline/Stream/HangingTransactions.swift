import Kafka
import Telemetry

/// Ends what an earlier producer of our transactional id has left open and its coordinator has forgotten.
///
/// A coordinator whose broker has just been restarted may not find a partition's leader, take the partition for deleted, and end
/// a transaction without a marker in it (seen with Kafka 4.3 and one broker: "likely deleted already and hence can be skipped").
/// Nothing ends that transaction any more. Readers of committed records wait at it for ever, and the next marker of the same
/// producer would end it with the outcome of *its* transaction: rows that were sent again since would be there twice. So before a
/// new producer writes anything, a transaction that it aborts takes these partitions in, and its marker is the abort that they
/// lack. `init_transactions` has returned by then, so that no marker is still on its way.
struct HangingTransactions {
    private let services: StreamServices
    private let admin: KafkaAdmin

    /// How long a transaction must stay open to be nobody's: one that another producer has open in a topic of ours may end.
    private static let patience: Int64 = .seconds(2)
    private static let timeout = Duration.seconds(30)

    init(_ services: StreamServices, _ admin: KafkaAdmin) {
        self.services = services
        self.admin = admin
    }

    /// Whether records in one of these partitions wait for the end of a transaction.
    func isOpen(_ partitions: [TopicPartition]) throws(KafkaError) -> Bool {
        try !admin.undecided(partitions, timeout: Self.timeout).isEmpty
    }

    /// Ends them in these partitions. Only for a producer that has fenced all others and has no transaction open.
    func end(in partitions: [TopicPartition], by producer: TransactionalProducer) throws(KafkaError) {
        let hanging = try undecided(partitions, for: Self.patience)
        guard !hanging.isEmpty else { return }
        services.state.failed("kafka", kind: "hanging_transaction")
        services.log.warning(
            "ending a transaction that its coordinator has forgotten",
            ["partitions": .init(hanging.map(\.description).joined(separator: " "))])
        try producer.begin()
        for partition in hanging {
            let topic = try producer.topic(partition.topic, timeout: Self.timeout)
            // A compacted topic takes no record without a key. Nobody reads this one: it is aborted.
            let key = Array("sluice".utf8)
            while try producer.produce(to: topic, partition: partition.partition, key: key.span, value: nil)
                == .queueFull
            { producer.poll(.milliseconds(10)) }
        }
        try producer.flush(timeout: Self.timeout)
        try producer.abort(timeout: Self.timeout)
        let left = try undecided(hanging, for: Self.patience)
        guard !left.isEmpty else { return }
        services.log.warning(
            "transactions of others are open in topics of ours",
            ["partitions": .init(left.map(\.description).joined(separator: " "))])
    }

    /// Those that stay undecided for so long, nanoseconds.
    private func undecided(_ partitions: [TopicPartition], for patience: Int64) throws(KafkaError) -> [TopicPartition] {
        let wakeup = Wakeup()
        let until = services.clock.monotonic() &+ patience
        var left = try admin.undecided(partitions, timeout: Self.timeout)
        while !left.isEmpty, services.clock.monotonic() < until {
            wakeup.wait(milliseconds: 100)
            left = try admin.undecided(left, timeout: Self.timeout)
        }
        return left
    }
}
