import ChangeData
import Kafka
import LocalStorage
package import Postgres

/// Reads back what the sink has written.
package protocol StoredObjects {
    /// Shows each line of each object of a topic, by partition in the order of the offsets, with its epoch, until `body` says false;
    /// answers which offsets the objects hold, by partition.
    func forEachLine(
        _ topic: String, _ body: (_ line: [UInt8], _ epoch: UInt32) -> Bool
    ) throws(AgentExit) -> [Int32: StoredOffsets]

    /// Whether an offset of the topic was committed by a sink that writes to this store.
    func wrote(_ note: OffsetNote, of topic: String) throws(AgentExit) -> Bool
}

/// `sluice verify`: compares tables, as of an LSN, with what Kafka and S3 say they are (C11).
///
/// The sink's offsets are read first: what they say was put is there when the objects are listed then. Next a snapshot of the tables is
/// taken together with its LSN: what the objects hold was committed before it. Kafka is waited for until it holds that LSN. Then three things are folded to rows and compared: the
/// table; the topic up to the LSN; the objects, and behind each partition's last object the topic up to the LSN.
///
/// The last row of each key is kept on disk, in `limits.spool_dir`, and the table is read row by row: memory does not grow with it.
package struct VerifyCommand {
    private let settings: StreamSettings
    private let services: StreamServices
    private let objects: (any StoredObjects)?
    private let spool: LocalDisk
    private let output: Output

    /// Of the rows of all tables, in memory.
    private static let cacheBytes = 24 << 20

    /// - Parameter spool: where rows are kept while they are compared.
    package init(
        settings: StreamSettings, services: StreamServices, objects: (any StoredObjects)?, spool: LocalDisk,
        output: Output
    ) {
        self.settings = settings
        self.services = services
        self.objects = objects
        self.spool = spool
        self.output = output
    }

    /// What the objects of a table say.
    private struct Stored {
        var fold: TableFold
        /// By partition.
        var offsets: [Int32: StoredOffsets]
        var sink: [Int32: SinkWord]
    }

    /// - Parameter patterns: the tables to look at; none: all.
    package func run(tables patterns: [TablePattern], json: Bool) throws(AgentExit) {
        let tables = try find(patterns)
        try KafkaArrival(settings: settings, services: services).requirePosition()
        let disk = try openDisk()
        var folds = 0
        func emptyFold(_ table: TableFacts) -> TableFold {
            folds += 1
            return TableReader(table: table, settings: settings).emptyFold(on: disk, number: folds)
        }
        var stored: [UInt32: Stored] = [:]
        for table in tables { stored[table.oid] = try readObjects(of: table, into: emptyFold(table)) }
        let wait = SnapshotWait(settings: settings, output: json ? nil : output, log: services.log)
        var snapshot = try Snapshot.take(settings, saying: wait)
        let position = try KafkaArrival(settings: settings, services: services).wait(for: snapshot.lsn)
        var report = VerifyReport(lsn: snapshot.lsn, held: position.lsn)
        for table in tables {
            report.outcomes += try compare(
                table, stored.removeValue(forKey: table.oid), emptyFold(table), &snapshot, epoch: position.epoch)
        }
        for line in json ? [report.json] : report.lines { output.line(line) }
        let different = report.outcomes.filter { !$0.isEqual }
        guard different.isEmpty else {
            throw AgentExit(
                .different, "verify found differences in \(different.count) of \(report.outcomes.count) comparisons")
        }
    }

    private func find(_ wanted: [TablePattern]) throws(AgentExit) -> [TableFacts] {
        let found: [TableFacts]
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            let tables = try connection.tables(matching: settings.tables).filter { table in
                wanted.isEmpty || wanted.match(schema: table.schema, table: table.name)
            }
            found = tables
        } catch { throw CommandErrors.exit(error) }
        guard !found.isEmpty else {
            throw wanted.isEmpty
                ? AgentExit(.configuration, "postgres.tables matches no table")
                : AgentExit(.usage, "--table matches no table of postgres.tables")
        }
        return found
    }

    private func topic(of table: TableFacts) throws(AgentExit) -> String {
        do throws(TopicError) {
            return try topicName(
                template: settings.format.topicTemplate, name: settings.name, schema: table.schema, table: table.name)
        } catch { throw AgentExit(.configuration, error.description) }
    }

    private func openDisk() throws(AgentExit) -> DiskMap {
        do throws(DiskMapError) {
            return try DiskMap(in: spool.directory, cacheBytes: Self.cacheBytes, limit: spool.bytes)
        } catch { throw Self.exit(.disk(error), of: "all tables") }
    }

    /// The exit of a record that cannot be folded, or of a disk that does not hold them.
    static func exit(_ failure: TableFold.Failure, of what: String) -> AgentExit {
        switch failure {
        case .malformed(let reason): return AgentExit(.different, "\(what): \(reason)")
        case .disk(let error) where error.kind == .full:
            return AgentExit(
                .unavailable, "the rows of \(what) do not fit on the disk: \(error)",
                hints: ["raise limits.spool, or compare a table at a time: sluice verify --table"])
        case .disk(let error):
            return AgentExit(.unavailable, "no rows can be kept on the disk: \(error)", hints: ["see limits.spool_dir"])
        }
    }

    private func readObjects(of table: TableFacts, into fold: TableFold) throws(AgentExit) -> Stored? {
        guard let objects else { return nil }
        var failure: TableFold.Failure?
        let name = try topic(of: table)
        let sink = try words(of: name, for: objects)
        let offsets = try objects.forEachLine(name) { line, epoch in
            do throws(TableFold.Failure) { try fold.apply(line, epoch: epoch) } catch { failure = error }
            return failure == nil
        }
        if let failure { throw Self.exit(failure, of: "the objects of \(name)") }
        return Stored(fold: fold, offsets: offsets, sink: sink)
    }

    /// What the sink says beside the group's offsets, as far as that is of this store.
    private func words(
        of topic: String, for objects: any StoredObjects
    ) throws(AgentExit) -> [Int32: SinkWord] {
        let committed: [Int32: PartitionOffset]
        do throws(KafkaError) {
            committed = try TopicReader(settings: settings, services: services).readBySink(of: topic)
        } catch { throw CommandErrors.exit(error) }
        var words: [Int32: SinkWord] = [:]
        for (partition, offset) in committed {
            let note = offset.metadata.flatMap(OffsetNote.init(json:))
            if let note, try !objects.wrote(note, of: topic) { continue }
            words[partition] = SinkWord(readTo: offset.offset, last: note?.last)
        }
        return words
    }

    /// What a topic says of its table, and what of it the objects do not hold.
    private struct Read {
        var isTrimmed = false
        /// Why records are known to be missing from the store.
        var hole: String?
        /// Changes that are in Kafka and not in an object yet.
        var behind = 0
    }

    private func compare(
        _ table: TableFacts, _ stored: Stored?, _ kafka: TableFold, _ snapshot: inout Snapshot, epoch: UInt32
    ) throws(AgentExit) -> [VerifyReport.Outcome] {
        let reader = TableReader(table: table, settings: settings)
        let both = stored?.fold
        let read = try readTopic(
            of: table, into: kafka, and: stored, epoch: epoch, before: snapshot.lsn)
        var inKafka = TableDifference(isTrimmed: read.isTrimmed)
        var inStore = TableDifference(isTrimmed: false)
        var rows = 0
        try snapshot.forEachRow(reader) { (found) throws(TableFold.Failure) in
            rows += 1
            switch found {
            case .unrepresentable(let why):
                inKafka.note(unrepresentable: why)
                inStore.note(unrepresentable: why)
            case .row(let row):
                let key = try kafka.key(of: row)
                inKafka.compare(key, row, with: try kafka.take(key))
                if let both { inStore.compare(key, row, with: try both.take(key)) }
            }
        }
        do throws(TableFold.Failure) {
            try kafka.forEachLeft { inKafka.note(extra: $0) }
            try both?.forEachLeft { inStore.note(extra: $0) }
            try kafka.discard()
            try both?.discard()
        } catch { throw Self.exit(error, of: reader.title) }
        var outcomes = [
            VerifyReport.Outcome(
                table: reader.title, place: "kafka", rows: rows, changes: kafka.changes, difference: inKafka,
                note: read.isTrimmed
                    ? "the topic's beginning is gone (retention): rows that it lacks, and values that did not change since, are not judged"
                    : nil)
        ]
        if let both {
            var note = read.behind > 0 ? "\(read.behind) changes are in Kafka and not in an object yet" : nil
            if let hole = read.hole { note = hole }
            outcomes.append(
                VerifyReport.Outcome(
                    table: reader.title, place: "s3", rows: rows, changes: both.changes - read.behind,
                    difference: inStore, hasHole: read.hole != nil, note: note))
        }
        return outcomes
    }

    /// Folds a table's topic; and what lies behind the objects into what these say.
    private func readTopic(
        of table: TableFacts, into kafka: TableFold, and stored: Stored?, epoch: UInt32,
        before lsn: LSN
    ) throws(AgentExit) -> Read {
        let name = try topic(of: table)
        var read = Read()
        var failure: TableFold.Failure?
        do throws(KafkaError) {
            let topics = TopicReader(settings: settings, services: services)
            let bounds = try topics.bounds(of: name)
            read.isTrimmed = bounds.contains { $0.low > 0 }
            var offsets = bounds.indices.map { index in
                stored?.offsets[Int32(index)] ?? StoredOffsets()
            }
            if let stored {
                read.hole =
                    bounds.indices.lazy.compactMap { index in
                        offsets[index].hole(logStart: bounds[index].low, stored.sink[Int32(index)])
                    }.first
            }
            try topics.forEach(of: name, from: bounds.map(\.low), bounds: bounds, epoch: epoch, before: lsn) { found in
                let partition = Int(found.partition)
                do throws(TableFold.Failure) {
                    try kafka.apply(found.value, epoch: found.epoch)
                    if let stored, found.offset >= offsets[partition].next {
                        try stored.fold.apply(found.value, epoch: found.epoch)
                        read.behind += 1
                    } else if stored != nil, !offsets[partition].takes(found.offset), read.hole == nil {
                        read.hole =
                            "no object has the record at offset \(found.offset) of \(name) [\(partition)], nor has one given it up"
                    }
                } catch { failure = error }
                return failure == nil
            }
        } catch { throw CommandErrors.exit(error) }
        if let failure { throw Self.exit(failure, of: "topic \(name)") }
        return read
    }
}
