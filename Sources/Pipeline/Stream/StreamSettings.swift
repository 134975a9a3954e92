package import ChangeData
package import Kafka
package import Postgres

/// All that the stream needs to know, checked already.
package struct StreamSettings: Sendable {
    /// The agent's name.
    package var name: String
    package var postgres: ConnectionSettings
    package var tables: [TablePattern]
    package var slot: String
    package var publication: String
    package var kafka: KafkaSettings
    /// Of topics that sluice creates.
    package var partitions: Int32
    /// Of topics that sluice creates.
    package var replicationFactor: Int16
    package var batch: BatchPolicy
    package var split: SplitPolicy
    /// The broker's bound on an open Kafka transaction, nanoseconds.
    package var transactionTimeout: Int64
    /// The format of records; its epoch is that of the stored position.
    package var format: EventFormat
    /// Bytes that encoded records may take, from the socket to the commit.
    package var memory: Int
    /// Bytes of the largest record that any topic is asked to take.
    package var largestRecord: Int
    /// Bytes of one batch that every topic takes: their smallest `max.message.bytes`.
    package var smallestLimit = Int.max
    /// How long a server may be unreachable at start, nanoseconds.
    package var startTimeout: Int64
    /// How far the slot is held back; nil: not at all.
    package var window: ReplayWindow?
    /// How long an hour is left open past its end, microseconds of the source's clock (C6).
    package var sealAfter: Int64 = 60_000_000
    /// Where transactions are kept that are streamed before their commit (protocol 2); nil: protocol 1.
    package var streaming: LocalDisk?
    /// Set for a replay, which is a stream of its own: what tells it from the live one.
    package var replay: ReplayScope?

    package init(
        name: String, postgres: ConnectionSettings, tables: [TablePattern], slot: String, publication: String,
        kafka: KafkaSettings, partitions: Int32, replicationFactor: Int16, batch: BatchPolicy, split: SplitPolicy,
        transactionTimeout: Int64, format: EventFormat, memory: Int, startTimeout: Int64,
        largestRecord: Int = 1 << 20, window: ReplayWindow? = nil
    ) {
        self.name = name
        self.postgres = postgres
        self.tables = tables
        self.slot = slot
        self.publication = publication
        self.kafka = kafka
        self.partitions = partitions
        self.replicationFactor = replicationFactor
        self.batch = batch
        self.split = split
        self.transactionTimeout = transactionTimeout
        self.format = format
        self.memory = memory
        self.startTimeout = startTimeout
        self.largestRecord = largestRecord
        self.window = window
    }

    /// Kafka's name for the one producer of this agent (C10).
    package var transactionalID: String { replay?.transactionalID ?? "sluice.\(name)" }
    /// What the walsender of the stream says it serves.
    package var applicationName: String { postgres.applicationName ?? transactionalID }
    /// The topic that holds the position. Each has one writer and one key, so that its last record is the position.
    package var progressTopic: String { replay?.transactionalID ?? "sluice.\(name).progress" }
    /// The key of its records.
    package var progressKey: String { replay?.id ?? name }
    /// The topic that records go to which the format's template sends to `topic`.
    package func topic(_ topic: String) -> String { (replay?.topicPrefix ?? "") + topic }

    /// The topic of rows that cannot be represented, of a replay with its prefix; nil: such a row ends the stream.
    package var deadLetterTopic: String? { format.deadLetterTopic.map(topic) }

    /// Bytes of one chunk: small enough that a publisher does not wait long for the first one, large enough that handing
    /// it over costs nothing per row.
    package var chunkBytes: Int { min(512 << 10, max(64 << 10, memory / 16)) }
    /// Bytes of records at which a chunk is handed on: an ordinary row more does not make it grow, and a chunk that has grown is not
    /// used again.
    package var chunkFill: Int { chunkBytes - min(64 << 10, chunkBytes / 4) }
    /// Bytes of chunks between the socket and the commit; the rest of the memory is the Kafka client's.
    package var chunkMemory: Int { memory / 4 * 3 }
    /// Bytes of an open Kafka transaction that are kept for sending again; a larger one is read again from PostgreSQL.
    package var retainedBytes: Int { memory / 2 }

    /// Bytes of records that the Kafka client copies: at least one of the largest that are let through.
    package var copiedBytes: Int { max(memory / 4, largestRecord + (1 << 20)) }
    /// Bytes of records that may wait in the Kafka client, most of them in chunks.
    package var producerQueueBytes: Int { max(chunkMemory, copiedBytes) }
    /// Bytes of one Kafka batch: below every broker's default of `max.message.bytes`, and, whatever compression leaves of it,
    /// below the half mebibyte from which on the collector of a broker with a small heap treats a request as a humongous object;
    /// and as small as the topic that takes the smallest ones, by a margin for a batch's own fields.
    package var producerBatchBytes: Int { min(480 << 10, largestRecord, Self.batchBytes(within: smallestLimit)) }

    /// Whether a topic that takes so many bytes of a batch takes each of ours.
    func fits(_ limit: Int) -> Bool { producerBatchBytes <= Self.batchBytes(within: limit) }

    /// Whether the Kafka client takes a record as large as a topic takes that takes so many bytes of a batch.
    func clientTakes(_ limit: Int) -> Bool { limit <= copiedBytes - (1 << 20) }

    private static func batchBytes(within limit: Int) -> Int { max(1, limit - 1024) }

    /// What the ordinals of a split transaction depend on: with another fingerprint they cannot be counted again. With protocol 2
    /// they are the same, so that it does not say which of the two is used.
    package var fingerprint: String { "publication=\(publication);proto=1;messages=true" }
}
