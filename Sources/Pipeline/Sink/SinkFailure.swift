import ChangeData
import Kafka
import ObjectStorage

/// Why a session of the sink ended. The supervisor decides what follows.
enum SinkFailure: Error {
    /// The sink must end.
    case exit(AgentExit)
    /// Something that may be better on the next attempt.
    case retry(component: String, reason: String)

    /// What happened, on one line.
    var reason: String {
        switch self {
        case .exit(let exit): ([exit.message] + exit.details).joined(separator: "; ")
        case .retry(_, let reason): reason
        }
    }

    static func kafka(_ error: KafkaError) -> SinkFailure { .retry(component: "kafka", reason: error.description) }

    /// A store's refusal that no repetition cures.
    static func store(_ error: StorageError, _ name: String) -> SinkFailure {
        .exit(
            AgentExit(
                error.operation == "compress" || error.operation == "hash" ? .software : .unavailable,
                "the store \(name) cannot be used", details: [error.description], hints: ["sluice check"]))
    }

    /// A record that an object cannot hold.
    static func record(_ partition: TopicPartition, _ offset: Int64, _ why: String, hint: String) -> SinkFailure {
        .exit(
            AgentExit(
                .unrepresentable,
                "the record at offset \(offset) of \(partition) cannot be written to an object: \(why)",
                hints: [hint]))
    }

    /// A record that another program has written.
    static func foreign(_ partition: TopicPartition, _ offset: Int64) -> SinkFailure {
        record(
            partition, offset, "it has no header sluice.pos, so sluice did not write it",
            hint:
                "take whatever else writes to topic \(partition.topic) away, or leave the topic out of postgres.tables")
    }

    /// A value that would not be one line.
    static func noLine(_ partition: TopicPartition, _ offset: Int64, isEmpty: Bool) -> SinkFailure {
        record(
            partition, offset, isEmpty ? "its value is empty" : "its value holds a line feed",
            hint: "one record is one line of an object; sluice writes no such value: who has written this one?")
    }

    /// A record that `Deduplicator` can judge neither old nor new.
    static func contradiction(
        _ partition: TopicPartition, _ offset: Int64, _ at: RecordPosition, last: RecordMark?
    ) -> SinkFailure {
        .exit(
            AgentExit(
                .gap,
                "the record at offset \(offset) of \(partition) is newer than the last one written, but its position is not",
                details: [
                    "its position: \(at.text)", "the last one written: \(last?.text ?? "none")",
                    "the stream was set up anew without a new epoch: its records cannot be told from repeated ones",
                ],
                hints: [
                    "begin a new prefix in s3.url, or give the stream another name",
                    "to set a stream up anew: sluice init --accept-gap, which raises the epoch",
                ]))
    }

    static func refusal(
        _ partition: TopicPartition, _ refusal: ResumeDecision.Refusal, group: String, store: String
    ) -> SinkFailure {
        switch refusal {
        case .lost(let range):
            let reset = range.upperBound + 1
            return .exit(
                AgentExit(
                    .gap,
                    "offsets \(range.lowerBound) to \(range.upperBound) of \(partition) are not in \(store), and no longer in Kafka",
                    details: [
                        "the log begins at offset \(reset); the objects end before \(range.lowerBound)",
                        "offsets of transaction markers are among them: there may be fewer records, or none",
                    ],
                    hints: [
                        "to go on without them (the next object records the gap): kafka-consumer-groups.sh --bootstrap-server BROKERS "
                            + "--group \(group) --topic \(partition.topic):\(partition.partition) "
                            + "--reset-offsets --to-offset \(reset) --execute",
                        "to have them again: sluice replay, into another prefix",
                    ]))
        case .shorter(let end, let stored):
            return .exit(
                AgentExit(
                    .gap, "the log of \(partition) ends at offset \(end), but \(store) has it up to \(stored)",
                    details: ["the topic was deleted and made again, or its brokers have lost records"],
                    hints: ["begin a new prefix in s3.url; the objects that are there stay as they are"]))
        }
    }

    /// Compaction may have deleted some already, and nobody can tell: offsets without a record are nothing unusual.
    static func compacted(_ topic: String, policy: String) -> SinkFailure {
        .exit(
            AgentExit(
                .configuration,
                "topic \(topic) has cleanup.policy=\(policy): compaction deletes rows that are in no object yet",
                hints: [
                    "\(Compaction.cure(topic)), then start the sink again",
                    "whether rows are missing: sluice verify; to have them: sluice replay, into another prefix",
                ]))
    }

    static func anotherLog(_ partition: TopicPartition, _ offset: Int64, found: String, stored: String) -> SinkFailure {
        .exit(
            AgentExit(
                .gap, "the record at offset \(offset) of \(partition) is not the one that its last object ends with",
                details: ["position in the topic: \(found)", "position in the object: \(stored)"],
                hints: [
                    "the topic was deleted and made again, or another stream was written to it: "
                        + "begin a new prefix in s3.url"
                ]))
    }

    static func conflict(_ segment: String, _ partition: TopicPartition, _ why: String) -> SinkFailure {
        .exit(
            AgentExit(
                .gap, "the object \(segment) was written by something else", details: ["\(partition): \(why)"],
                hints: ["nothing was overwritten: find out who writes there, or begin a new prefix in s3.url"]))
    }
}
