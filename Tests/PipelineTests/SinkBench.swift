import ChangeData
import Glibc
import Kafka
import ObjectStorage
import Postgres
import Synchronization
import Telemetry
import Testing

@testable import Pipeline
import Threads

/// Servers that the sink's tests speak to.
enum SinkServers {
    static func value(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
    static let brokers = value("SLUICE_TEST_KAFKA")
    /// `endpoint,access key,secret,bucket`
    static let s3 = value("SLUICE_TEST_S3_PROXY").map { $0.split(separator: ",").map(String.init) }
}

/// All sink tests that speak to brokers, one after the other: they block their threads.
@Suite(.serialized) enum SinkServerTests {}

/// A record to be produced.
struct Made {
    var value: String?
    var position: RecordPosition?
    var oldKey = false
    var isReplay = false

    /// - Parameter minutes: since 2024-02-29 12:00 UTC.
    static func at(_ lsn: UInt64, _ ordinal: UInt64 = 1, epoch: UInt32 = 1, minutes: Int = 0) -> RecordPosition {
        RecordPosition(
            position: EventPosition(epoch: epoch, commitLSN: LSN(lsn), ordinal: ordinal),
            commitTime: 1_709_208_000_000_000 + Int64(minutes) * 60_000_000)
    }

    init(_ value: String?, _ position: RecordPosition?, oldKey: Bool = false, isReplay: Bool = false) {
        self.value = value
        self.position = position
        self.oldKey = oldKey
        self.isReplay = isReplay
    }

    /// The same as above with a position that is in no doubt.
    init(_ lsn: UInt64, minutes: Int = 0) { self.init(#"{"id":\#(lsn)}"#, Made.at(lsn, minutes: minutes)) }
}

/// An object as it was found in the store.
struct FoundObject {
    var key: String
    var object: StoredObject
    var content: [UInt8]

    var lines: [String] { String(decoding: content, as: UTF8.self).split(separator: "\n").map(String.init) }
}

/// A topic, a store, and sinks that run between them.
final class SinkBench {
    let kafka: KafkaSettings
    let admin: KafkaAdmin
    let name: String
    let topic: String
    let location: StoreLocation
    let root: String
    private let producer: TransactionalProducer
    private let produced: TransactionalProducer.Topic
    static let patience = Duration.seconds(30)

    /// - Parameter s3: in a prefix of its own on S3Proxy, else in a directory.
    init(partitions: Int32 = 1, s3: Bool = false, topicSettings: [String: String] = [:]) throws {
        let id = String(UInt32.random(in: .min ... .max), radix: 36)
        name = "k\(getpid())_\(id)"
        topic = "\(name).public.gold"
        kafka = try KafkaSettings(brokers: try #require(SinkServers.brokers), clientID: "sink-test")
        admin = try KafkaAdmin(kafka)
        let new = NewTopic(topic, partitions: partitions, replicationFactor: 1, configuration: topicSettings)
        try #require(admin.createTopics([new], timeout: Self.patience) == [topic: .created])
        let directory = "\(SinkServers.value("TMPDIR") ?? "/tmp")/sluice-sink-\(name)"
        root = directory
        try #require(mkdir(directory, 0o755) == 0 && mkdir("\(directory)/spool", 0o755) == 0)
        if s3, let parts = SinkServers.s3, parts.count == 4 {
            location = .s3(
                S3Settings(
                    bucket: parts[3], prefix: "sink/\(name)", endpoint: parts[0], pathStyle: true,
                    credentials: S3Credentials(accessKeyID: parts[1], secretAccessKey: parts[2])))
        } else {
            location = .file(FileStoreSettings(root: "\(directory)/lake"))
        }
        producer = try TransactionalProducer(kafka, ProducerOptions(transactionalID: name))
        try producer.initTransactions(timeout: Self.patience)
        produced = try Self.topic(topic, of: producer)
    }

    deinit { Self.remove(root) }

    /// A topic that was just made is not known to every broker's cache at once.
    static func topic(_ name: String, of producer: TransactionalProducer) throws -> TransactionalProducer.Topic {
        for _ in 0..<300 {
            do throws(KafkaError) {
                return try producer.topic(name, timeout: patience)
            } catch {
                guard error.reason == .unknownTopic else { throw error }
                usleep(100_000)
            }
        }
        return try producer.topic(name, timeout: patience)
    }

    private static func remove(_ path: String) {
        if let directory = opendir(path) {
            while let entry = readdir(directory) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name != ".", name != ".." { remove("\(path)/\(name)") }
            }
            closedir(directory)
        }
        _ = Glibc.remove(path)
    }

    // MARK: The topic

    func produce(_ records: [Made], partition: Int32 = 0, commit: Bool = true) throws {
        try produce(records, partition: partition, by: producer, to: produced)
        if commit {
            try producer.commit(timeout: Self.patience)
        } else {
            try producer.flush(timeout: Self.patience)
            try producer.abort(timeout: Self.patience)
        }
    }

    /// A record in a transaction of another producer, which stays open until that one commits.
    func leaveOpen(_ record: Made, as id: String) throws -> TransactionalProducer {
        let other = try TransactionalProducer(kafka, ProducerOptions(transactionalID: "\(name).\(id)"))
        try other.initTransactions(timeout: Self.patience)
        try produce([record], partition: 0, by: other, to: Self.topic(topic, of: other))
        try other.flush(timeout: Self.patience)
        return other
    }

    private func produce(
        _ records: [Made], partition: Int32, by producer: TransactionalProducer,
        to produced: TransactionalProducer.Topic
    ) throws {
        try producer.begin()
        for record in records {
            let value = record.value.map { Array($0.utf8) } ?? []
            let position = Array((record.position?.text ?? "").utf8)
            let mark = Array("1".utf8)
            let outcome = try producer.produce(
                to: produced, partition: partition, key: Array("k".utf8).span,
                value: record.value == nil ? nil : value.span,
                header: record.position == nil ? nil : RecordHeader("sluice.pos", position.span),
                header: record.oldKey ? RecordHeader("__debezium.oldkey", mark.span) : nil,
                header: record.isReplay ? RecordHeader("sluice.replay", mark.span) : nil)
            try #require(outcome == .queued)
        }
    }

    func deleteRecords(below offset: Int64, partition: Int32 = 0) throws {
        // A commit returns before its marker is in the log.
        for _ in 0..<300 {
            let high = try admin.bounds(of: TopicPartition(topic, partition), timeout: Self.patience).high
            if high >= offset { break }
            usleep(100_000)
        }
        try admin.deleteRecords(
            below: [PartitionOffset(TopicPartition(topic, partition), offset: offset)], timeout: Self.patience)
    }

    // MARK: Sinks

    func settings(_ change: (inout SinkSettings) -> Void = { _ in }) throws -> SinkSettings {
        var settings = SinkSettings(
            name: name, kafka: kafka,
            topics: try TopicSelection(
                name: name, template: "{name}.{schema}.{table}", tables: [TablePattern(schema: "public", table: "*")]),
            store: location, storeName: "the test's store", compression: .none, conditional: .required,
            segments: SegmentPolicy(bytes: 1 << 20, age: .milliseconds(300)), memory: 16 << 20, spool: 64 << 20,
            spoolDirectory: "\(root)/spool", startTimeout: .seconds(20))
        change(&settings)
        return settings
    }

    func start(_ change: (inout SinkSettings) -> Void = { _ in }) throws -> RunningSink {
        RunningSink(try settings(change))
    }

    /// Runs a sink until `done` holds, then stops it in good order.
    @discardableResult
    func run(
        _ change: (inout SinkSettings) -> Void = { _ in }, until done: (AgentState.Snapshot) throws -> Bool
    ) throws -> AgentState.Snapshot {
        let sink = try start(change)
        let met = try sink.wait(until: done)
        let exit = sink.stop()
        #expect(exit == nil, "\(exit.map(\.description) ?? "")")
        #expect(met, "not within the time: \(sink.log)")
        return sink.state.snapshot
    }

    /// The spool's files, which have no names, and their bytes, as the system has them.
    func spooled() -> (files: Int, bytes: Int) {
        guard let descriptors = opendir("/proc/self/fd") else { return (0, 0) }
        defer { closedir(descriptors) }
        var found = (files: 0, bytes: 0)
        while let entry = readdir(descriptors) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            var target = [CChar](repeating: 0, count: 4096)
            let count = readlink("/proc/self/fd/\(name)", &target, target.count)
            var status = stat()
            guard count > 0,
                String(decoding: target[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self).hasPrefix(
                    "\(root)/spool/"),
                stat("/proc/self/fd/\(name)", &status) == 0
            else { continue }
            found.files += 1
            found.bytes += Int(status.st_size)
        }
        return found
    }

    // MARK: The store

    func store() throws -> ObjectStore { try ObjectStore(location) }

    /// The objects of a partition, in the order of their offsets, each unpacked and checked against what it says of itself.
    func objects(partition: Int32 = 0, _ compression: Compression = .none) throws -> [FoundObject] {
        let store = try store()
        var found: [FoundObject] = []
        var next: ListContinuation?
        repeat {
            let page = try store.list(prefix: "\(topic)/", continuing: next)
            for listed in page.objects {
                guard let name = ObjectName(key: listed.key, topic: topic), name.partition == partition else {
                    continue
                }
                var content: [UInt8] = []
                var decompressor = try Decompressor(compression)
                let info = try store.head(listed.key)
                try store.get(listed.key) { piece in
                    do throws(StorageError) {
                        try decompressor.update(piece) { lines in
                            lines.withUnsafeBufferPointer { content.append(contentsOf: $0) }
                        }
                        return true
                    } catch {
                        Issue.record("\(error)")
                        return false
                    }
                }
                if listed.size > 0 { try decompressor.finish() }
                let object = try #require(StoredObject(metadata: info?.metadata ?? [:]))
                #expect(object.start == name.start)
                let digest = try SHA256Digest.of(content)
                #expect(object.sha256 == digest.hex)
                found.append(FoundObject(key: listed.key, object: object, content: content))
                #expect(found[found.count - 1].lines.count == object.records)
            }
            next = page.next
        } while next != nil
        return found.sorted { $0.object.start < $1.object.start }
    }

    /// Every record that `read_committed` shows: its offset, and its value, nil for a tombstone.
    func shown(partition: Int32 = 0) throws -> [(offset: Int64, value: String?)] {
        let reader = try CommittedReader(kafka)
        try reader.start(TopicPartition(topic, partition), at: 0)
        var shown: [(offset: Int64, value: String?)] = []
        while true {
            let event = reader.poll(timeout: Self.patience) { record in
                var value: String?
                if let bytes = record.value {
                    value = bytes.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
                }
                shown.append((record.offset, value))
            }
            if case .partitionEnd = event { return shown }
            if case .error(let error, _) = event, error.disposition != .retriable { throw error }
        }
    }

    /// C5: every record that is shown lies in exactly one range, and no range begins or ends elsewhere; an object's lines are the
    /// values of its range, in their order.
    ///
    /// - Parameter dropped: how many of them have no line, because they repeat one that has.
    func expectExact(partition: Int32 = 0, _ compression: Compression = .none, dropped: Int = 0) throws {
        let records = try shown(partition: partition)
        let objects = try objects(partition: partition, compression)
        var next = 0
        for found in objects {
            let object = found.object
            try #require(
                next < records.count && object.start == records[next].offset, "\(found.key): a gap or an overlap")
            let range = records[next...].prefix { $0.offset <= object.end }
            #expect(range.last?.offset == object.end)
            var values = range.compactMap(\.value)
            #expect(object.tombstones == range.count - values.count)
            #expect(object.records + object.dropped == values.count)
            if object.dropped > 0 {
                // In their order the lines are among the values.
                var lines = found.lines[...]
                values.removeAll { value in
                    guard lines.first == value else { return true }
                    lines.removeFirst()
                    return false
                }
            }
            #expect(found.lines == values, "\(found.key)")
            next += range.count
        }
        #expect(next == records.count, "records \(next)... of \(records.count) are in no object")
        #expect(objects.reduce(0) { $0 + $1.object.dropped } == dropped)
    }

    /// The topic was deleted: makes it again, as soon as the brokers have done that.
    func makeAnew() throws {
        let new = NewTopic(topic, partitions: 1, replicationFactor: 1)
        let began = ContinuousClock.now
        while try admin.createTopics([new], timeout: Self.patience) != [topic: .created] {
            try #require(ContinuousClock.now - began < Self.patience, "\(topic) cannot be made again")
            usleep(20_000)
        }
    }

    /// What the group knows, to be put back as a kill would leave it.
    func committed(partition: Int32 = 0, group: String? = nil) throws -> PartitionOffset? {
        let consumer = try GroupConsumer(
            kafka, group: group ?? "sluice.\(name)", topics: ["\(name).other"], assignment: .cooperative)
        defer { consumer.close(timeout: .seconds(2)) }
        return try consumer.committed([TopicPartition(topic, partition)], timeout: Self.patience).first
    }

    func commit(_ offset: PartitionOffset) throws {
        let consumer = try GroupConsumer(
            kafka, group: "sluice.\(name)", topics: ["\(name).other"], assignment: .cooperative)
        defer { consumer.close(timeout: .seconds(2)) }
        // A consumer that is no member yet commits as a tool does.
        var lastError: (any Error)?
        for _ in 0..<50 {
            do { return try consumer.commit([offset], timeout: Self.patience) } catch {
                lastError = error
                usleep(200_000)
            }
        }
        if let lastError { throw lastError }
    }
}

/// A sink on a thread of its own, which ends with its exit.
final class RunningSink: Sendable {
    let state = AgentState()
    private let stopSignal = StopSignal()
    private let thread: WorkerThread
    private let outcome: Outcome
    private let lines: Lines

    private final class Outcome: Sendable { let exit = Mutex<AgentExit?>(nil) }
    private final class Lines: Sendable { let text = Mutex<[String]>([]) }

    /// - Parameter failedBefore: what a session before has ended with.
    init(_ settings: SinkSettings, failedBefore: String? = nil) {
        state.update { $0.sinkError = failedBefore }
        let outcome = Outcome()
        let lines = Lines()
        let verbose = SinkServers.value("SLUICE_TEST_VERBOSE") != nil
        let log = Logger(
            level: .debug, format: .text(isColoured: false),
            sink: LogSink { line in
                if verbose { print(line, terminator: "") }
                lines.text.withLock { if $0.count < 400 { $0.append(line) } }
            }, now: { Clock.system.wall() / 1000 })
        let services = StreamServices(clock: .system, log: log, state: state, stop: stopSignal)
        self.outcome = outcome
        self.lines = lines
        thread = WorkerThread(name: "sink") {
            let exit = SinkSupervisor(settings: settings, services: services).run()
            outcome.exit.withLock { $0 = exit }
        }
    }

    var log: String { lines.text.withLock { $0.filter { !$0.contains("librdkafka") }.suffix(60).joined() } }

    /// False when it did not hold within the time, or the sink has ended.
    func wait(seconds: Int = 60, until done: (AgentState.Snapshot) throws -> Bool) rethrows -> Bool {
        for _ in 0..<(seconds * 20) {
            if try done(state.snapshot) { return true }
            if thread.join(milliseconds: 50) { return try done(state.snapshot) }
        }
        return false
    }

    /// - Parameter seconds: of the stop's deadline; 0 leaves what is open, as a kill does.
    func stop(within seconds: Int = 10) -> AgentExit? {
        stopSignal.request(deadline: Clock.system.monotonic() &+ .seconds(seconds))
        return exit(seconds: seconds + 10)
    }

    /// What the sink ends with by itself.
    func exit(seconds: Int = 60) -> AgentExit? {
        #expect(thread.join(milliseconds: seconds * 1000), "the sink has not ended: \(log)")
        return outcome.exit.withLock { $0 }
    }
}

extension AgentState.Snapshot {
    /// Whether all partitions are in the store up to the end of the log.
    func isDrained(partitions: Int = 1) -> Bool {
        sink.partitions.count == partitions
            && sink.partitions.allSatisfy { partition in partition.endOffset.map { partition.nextOffset >= $0 } ?? false
            }
    }

    var records: UInt64 { sink.topics.values.reduce(0) { $0 + $1.records } }
    var objects: UInt64 { sink.topics.values.reduce(0) { $0 + $1.objects } }
}
