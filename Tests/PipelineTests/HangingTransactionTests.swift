import ChangeData
import Glibc
import Kafka
import Postgres
import Telemetry
import Testing

@testable import Pipeline

private func position(_ lsn: UInt64, commit: UInt64 = 0, ordinal: UInt64 = 0, epoch: UInt32 = 1) -> StoredPosition {
    StoredPosition(
        systemID: "1", timeline: 1, slot: "s", epoch: epoch, lsn: LSN(lsn), commitLSN: LSN(commit), ordinal: ordinal,
        options: "", state: .streaming)
}

/// Of a stream that only its parts are tested of.
func settings(_ kafka: KafkaSettings, name: String) throws -> StreamSettings {
    StreamSettings(
        name: name, postgres: try ConnectionSettings(url: "postgresql://me@localhost/db"),
        tables: [TablePattern(schema: "public", table: "gold")],
        slot: "s", publication: "p", kafka: kafka, partitions: 1, replicationFactor: 1,
        batch: BatchPolicy(rows: 1, bytes: 1, interval: 0), split: SplitPolicy(rows: 1, bytes: 1, age: 1),
        transactionTimeout: .seconds(60), format: EventFormat(name: name, database: "db", version: "1", epoch: 1),
        memory: 1 << 20, startTimeout: .seconds(1))
}

/// Whether a transaction without a marker was committed: by what is known of the stream.
@Suite struct ForgottenTransactionTests {
    private let settings: StreamSettings
    private let data = TopicPartition("t", 0)

    init() throws { settings = try Self.make() }

    private static func make() throws -> StreamSettings {
        try PipelineTests.settings(try KafkaSettings(brokers: "localhost:1", clientID: "c"), name: "n")
    }

    private func wasCommitted(_ pos: String, stored: StoredPosition? = nil, confirmed: UInt64 = 0) -> Bool {
        HangingTransactions.wasCommitted(
            StoredRecord(key: nil, headers: ["sluice.pos": Array(pos.utf8)]), of: data, settings,
            .init(stored: stored, confirmed: LSN(confirmed)))
    }

    @Test func rowsUpToThePositionWere() {
        #expect(wasCommitted("1/0/90/3/1", stored: position(0x100)))
        #expect(!wasCommitted("1/0/100/1/1", stored: position(0x100)))
        #expect(!wasCommitted("1/0/90/3/1"))
        #expect(wasCommitted("1/0/90/3/1", confirmed: 0x91))
        #expect(!wasCommitted("1/0/91/3/1", confirmed: 0x91))
        #expect(wasCommitted("1/0/900/3/1", stored: position(0x100, epoch: 2)))
        #expect(!wasCommitted("2/0/90/3/1", stored: position(0x100)))
        #expect(!wasCommitted("of somebody else", stored: position(0x100)))
    }

    @Test func partsOfASplitTransactionAreTold() {
        let stored = position(0x100, commit: 0x200, ordinal: 5)
        #expect(wasCommitted("1/0/200/5/1", stored: stored))
        #expect(!wasCommitted("1/0/200/6/1", stored: stored))
        #expect(!wasCommitted("1/0/300/1/1", stored: stored))
    }

    @Test func positionsOfTheProgressTopicAreToldByTheirOwn() {
        func wasCommitted(_ own: StoredPosition, stored: StoredPosition? = nil, confirmed: UInt64 = 0) -> Bool {
            HangingTransactions.wasCommitted(
                StoredRecord(key: nil, value: Array(ProgressRecord.encode(own).utf8)),
                of: TopicPartition(settings.progressTopic, 0), settings,
                .init(stored: stored, confirmed: LSN(confirmed)))
        }
        #expect(wasCommitted(position(0x100), stored: position(0x100)))
        #expect(!wasCommitted(position(0x101), stored: position(0x100)))
        #expect(wasCommitted(position(0x101), stored: position(0x100), confirmed: 0x101))
        // A part of a split transaction leaves the LSN where it was: the slot says nothing of it.
        #expect(
            !wasCommitted(
                position(0x100, commit: 0x200, ordinal: 7), stored: position(0x100, commit: 0x200, ordinal: 5),
                confirmed: 0x100))
        #expect(!wasCommitted(position(0x100)))
    }

    /// One Kafka transaction that holds the end of one PostgreSQL transaction and the first part of the next.
    @Test func aPartBehindTheEndOfAnotherWasCommittedIfTheSlotKnowsThatEnd() {
        func wasCommitted(confirmed: UInt64, stored: StoredPosition?) -> Bool {
            HangingTransactions.wasCommitted(
                StoredRecord(
                    key: nil,
                    value: Array(ProgressRecord.encode(position(0x100, commit: 0x200, ordinal: 7)).utf8)),
                of: TopicPartition(settings.progressTopic, 0), settings,
                .init(stored: stored, confirmed: LSN(confirmed)))
        }
        let before = position(0x80, commit: 0xF0, ordinal: 5)
        #expect(wasCommitted(confirmed: 0x100, stored: before))
        #expect(!wasCommitted(confirmed: 0x80, stored: before))
        #expect(!wasCommitted(confirmed: 0x100, stored: position(0x100)))
        #expect(!wasCommitted(confirmed: 0x100, stored: nil))
    }
}

extension SinkServerTests {
    /// What is written to end such a transaction. A transaction that another producer has open stands for it.
    @Suite(.serialized, .enabled(if: SinkServers.brokers != nil, "SLUICE_TEST_KAFKA is not set"))
    struct HangingTransactionTests {
        private final class Bench {
            let kafka: KafkaSettings
            let admin: KafkaAdmin
            let name = "h\(getpid())_\(UInt32.random(in: .min ... .max))"
            let producer: TransactionalProducer
            var settings: StreamSettings { get throws { try PipelineTests.settings(kafka, name: name) } }
            var data: TopicPartition { TopicPartition("\(name).t", 0) }
            var other: TopicPartition { TopicPartition("\(name).t", 1) }

            init() throws {
                kafka = try KafkaSettings(brokers: try #require(SinkServers.brokers), clientID: "hanging-test")
                admin = try KafkaAdmin(kafka)
                producer = try TransactionalProducer(kafka, ProducerOptions(transactionalID: "\(name).open"))
                try producer.initTransactions(timeout: SinkBench.patience)
                for (topic, partitions) in [("\(name).t", Int32(2)), ("sluice.\(name).progress", 1)] {
                    _ = try admin.createTopics(
                        [NewTopic(topic, partitions: partitions, replicationFactor: 1)], timeout: SinkBench.patience)
                    _ = try SinkBench.topic(topic, of: producer)
                }
            }

            static func services(_ state: AgentState) -> StreamServices {
                StreamServices(
                    clock: .system,
                    log: Logger(level: .error, format: .text(isColoured: false), sink: LogSink { _ in }, now: { 0 }),
                    state: state,
                    stop: StopSignal())
            }

            var progress: TopicPartition { TopicPartition("sluice.\(name).progress", 0) }

            func commit(_ position: StoredPosition) throws {
                try producer.begin()
                try produce(position)
                try producer.commit(timeout: SinkBench.patience)
            }

            func produce(_ position: StoredPosition) throws {
                let topic = try SinkBench.topic(progress.topic, of: producer)
                try ProgressStore.produce(position, for: name, to: topic, by: producer)
            }

            func produce(_ pos: String, to partition: TopicPartition) throws {
                let topic = try SinkBench.topic(partition.topic, of: producer)
                let (pos, key, value, link) = (
                    Array(pos.utf8), Array("k".utf8), Array("v \(pos)".utf8), Array("n".utf8)
                )
                _ = try producer.produce(
                    to: topic, partition: partition.partition, key: key.span, value: value.span,
                    header: RecordHeader("sluice.pos", pos.span), header: RecordHeader("__debezium.newkey", link.span))
            }

            /// One row that hangs; then it is ended, and the transaction that stood for it is aborted: what is left to be read.
            /// - Parameter own: the position that hangs with it.
            func end(
                held: HangingTransactions.Held, others: [TopicPartition] = [], pos: String = "1/0/90/1/1",
                with own: StoredPosition? = nil
            ) throws -> StoredRecord? {
                try producer.begin()
                try produce(pos, to: data)
                if let own { try produce(own) }
                let all = own == nil ? [data] : [data, progress]
                try producer.flush(timeout: SinkBench.patience)
                let state = AgentState()
                let services = Self.services(state)
                let hanging = HangingTransactions(try settings, services, admin)
                #expect(Set(try hanging.find(in: all + [other])) == Set(all))
                let ender = try TransactionalProducer(kafka, ProducerOptions(transactionalID: "\(name).end"))
                try ender.initTransactions(timeout: SinkBench.patience)
                try hanging.end(all, of: all + others, held: held, by: ender)
                #expect(state.snapshot.failures[.init(component: "kafka", kind: "hanging_transaction")] == 1)
                try producer.abort(timeout: SinkBench.patience)
                for _ in 0..<200 where try hanging.isOpen(all) { usleep(20_000) }
                return try CommittedReader(kafka).lastRecord(of: data, timeout: SinkBench.patience).record
            }
        }

        @Test func whatWasNotCommittedIsAborted() throws {
            #expect(try Bench().end(held: .init(stored: position(0x80))) == nil)
        }

        @Test func whatWasCommittedIsRepeatedWithAllThatItHad() throws {
            let record = try #require(try Bench().end(held: .init(confirmed: LSN(0x100))))
            #expect(record.key == Array("k".utf8))
            #expect(record.headers == ["sluice.pos": Array("1/0/90/1/1".utf8), "__debezium.newkey": Array("n".utf8)])
            #expect(record.value?.starts(with: "v ".utf8) == true)
        }

        @Test func aPartThatWasCommittedWithTheEndBeforeItIsRepeated() throws {
            let bench = try Bench()
            try bench.commit(position(0x80, commit: 0xF0, ordinal: 5))
            let part = position(0x100, commit: 0x200, ordinal: 7)
            #expect(try bench.end(held: .init(confirmed: LSN(0x100)), pos: "1/0/200/7/1", with: part) != nil)
            let stored = try ProgressStore(try bench.settings, events: .ignored).readIfThere(
                timeout: SinkBench.patience)
            guard case .position(let shown) = stored.found else {
                Issue.record("no position")
                return
            }
            #expect(shown == part)
        }

        /// The next session ends what was open in them: once, and not where they were deleted meanwhile.
        @Test func topicsThatNobodyForesawAreSettledOnce() throws {
            let bench = try Bench()
            let memory = SessionMemory()
            for topic in [bench.data.topic, "\(bench.name).gone"] { memory.noteUnsettled(topic) }
            let services = Bench.services(AgentState())
            let settings = try bench.settings
            var topics = try TopicDirectory(
                settings, services, memory, maker: TopicMaker(settings, events: .ignored, log: services.log),
                producer: bench.producer)
            try topics.settle([], by: bench.producer) { HangingTransactions.Held() }
            #expect(memory.unsettledTopics.isEmpty)
        }

        /// What is behind it was committed: once more would be twice.
        @Test func anOpenTransactionOfSomebodyElseIsLeftToHim() throws {
            let bench = try Bench()
            let foreign = try TransactionalProducer(
                bench.kafka, ProducerOptions(transactionalID: "\(bench.name).foreign"))
            try foreign.initTransactions(timeout: SinkBench.patience)
            try foreign.begin()
            let key = Array("theirs".utf8)
            for partition in [bench.data, bench.progress] {
                let topic = try SinkBench.topic(partition.topic, of: foreign)
                _ = try foreign.produce(to: topic, partition: partition.partition, key: key.span, value: key.span)
            }
            try foreign.flush(timeout: SinkBench.patience)
            try bench.producer.begin()
            try bench.produce("1/0/90/1/1", to: bench.data)
            try bench.produce(position(0x90))
            try bench.producer.commit(timeout: SinkBench.patience)
            let hanging = HangingTransactions(try bench.settings, Bench.services(AgentState()), bench.admin)
            let all = [bench.data, bench.other, bench.progress]
            #expect(try hanging.isOpen(all))
            #expect(try hanging.find(in: all) == [])
            try foreign.abort(timeout: SinkBench.patience)
        }

        @Test func whatReadersSeeElsewhereWasCommittedHereToo() throws {
            let bench = try Bench()
            try bench.producer.begin()
            try bench.produce("1/0/90/2/1", to: bench.other)
            try bench.producer.commit(timeout: SinkBench.patience)
            #expect(try bench.end(held: .init(stored: position(0x80)), others: [bench.other]) != nil)
        }
    }
}
