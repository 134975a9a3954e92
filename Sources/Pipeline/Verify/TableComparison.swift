import ChangeData
import Kafka
import LocalStorage
import Postgres

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

/// The comparison of one table with its topic and its objects.
struct TableComparison {
    /// What came of it.
    enum Result {
        case outcomes([VerifyReport.Outcome])
        /// What has happened to the table since the snapshot: nothing can be said of it.
        case overtaken(String)
        /// Why the table could not be read.
        case refused(PostgresError)
    }

    /// What the objects of a table say.
    private struct Stored {
        var fold: TableFold
        /// By partition.
        var offsets: [Int32: StoredOffsets]
        var sink: [Int32: SinkWord]
    }

    let table: TableFacts
    private let settings: StreamSettings
    private let services: StreamServices
    private let topic: String
    private let kafka: TableFold
    /// nil: there is no store.
    private let stored: Stored?

    /// Reads the objects.
    /// - Parameter number: of two folds, among those that are on the disk.
    init(
        _ table: TableFacts, settings: StreamSettings, services: StreamServices, objects: (any StoredObjects)?,
        disk: DiskMap, number: Int
    ) throws(AgentExit) {
        self.table = table
        self.settings = settings
        self.services = services
        do throws(TopicError) {
            topic = try topicName(
                template: settings.format.topicTemplate, name: settings.name, schema: table.schema, table: table.name)
        } catch { throw AgentExit(.configuration, error.description) }
        let reader = TableReader(table: table, settings: settings)
        kafka = reader.emptyFold(on: disk, number: number)
        if let objects {
            stored = try Self.read(
                objects, of: topic, into: reader.emptyFold(on: disk, number: number + 1),
                by: TopicReader(settings: settings, services: services))
        } else {
            stored = nil
        }
    }

    private static func read(
        _ objects: any StoredObjects, of topic: String, into fold: TableFold, by topics: TopicReader
    ) throws(AgentExit) -> Stored {
        var failure: TableFold.Failure?
        let sink = try words(of: topic, for: objects, by: topics)
        let offsets = try objects.forEachLine(topic) { line, epoch in
            do throws(TableFold.Failure) { try fold.apply(line, epoch: epoch) } catch { failure = error }
            return failure == nil
        }
        if let failure { throw VerifyCommand.exit(failure, of: "the objects of \(topic)") }
        return Stored(fold: fold, offsets: offsets, sink: sink)
    }

    /// What the sink says beside the group's offsets, as far as that is of this store.
    private static func words(
        of topic: String, for objects: any StoredObjects, by topics: TopicReader
    ) throws(AgentExit) -> [Int32: SinkWord] {
        let committed: [Int32: PartitionOffset]
        do throws(KafkaError) {
            committed = try topics.readBySink(of: topic)
        } catch { throw CommandErrors.exit(error) }
        var words: [Int32: SinkWord] = [:]
        for (partition, offset) in committed {
            // Without a note it is a stranger's in the group, or set by hand, and nobody has done yet what it says.
            guard let note = offset.metadata.flatMap(OffsetNote.init(json:)), try objects.wrote(note, of: topic) else {
                continue
            }
            words[partition] = SinkWord(readTo: offset.offset, last: note.last)
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

    /// Reads topic and table, and compares. What was folded is gone afterwards.
    func run(_ snapshot: inout Snapshot, epoch: UInt32) throws(AgentExit) -> Result {
        let reader = TableReader(table: table, settings: settings)
        let both = stored?.fold
        let read = try readTopic(epoch: epoch, before: snapshot.lsn)
        var inKafka = TableDifference(isTrimmed: read.isTrimmed)
        var inStore = TableDifference(isTrimmed: false)
        var rows = 0
        let reading = try snapshot.forEachRow(reader) { (found) throws(TableFold.Failure) in
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
            if reading == .done {
                try kafka.forEachLeft { inKafka.note(extra: $0) }
                try both?.forEachLeft { inStore.note(extra: $0) }
            }
            try kafka.discard()
            try both?.discard()
        } catch { throw VerifyCommand.exit(error, of: reader.title) }
        switch reading {
        case .overtaken(let why): return .overtaken(why)
        case .refused(let error): return .refused(error)
        case .done: break
        }
        let trimmed =
            "the topic's beginning is gone (retention): rows that it lacks, and values that did not change since, are not judged"
        var outcomes = [
            VerifyReport.Outcome(
                table: reader.title, place: "kafka", rows: rows, changes: kafka.changes, difference: inKafka,
                note: read.isTrimmed ? trimmed : nil)
        ]
        if let both {
            let behind = read.behind > 0 ? "\(read.behind) changes are in Kafka and not in an object yet" : nil
            outcomes.append(
                VerifyReport.Outcome(
                    table: reader.title, place: "s3", rows: rows, changes: both.changes - read.behind,
                    difference: inStore, hasHole: read.hole != nil, note: read.hole ?? behind))
        }
        return .outcomes(outcomes)
    }

    /// Folds the topic; and what lies behind the objects into what these say.
    private func readTopic(epoch: UInt32, before lsn: LSN) throws(AgentExit) -> Read {
        var read = Read()
        var failure: TableFold.Failure?
        do throws(KafkaError) {
            let topics = TopicReader(settings: settings, services: services)
            let bounds = try topics.bounds(of: topic)
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
            try topics.forEach(of: topic, from: bounds.map(\.low), bounds: bounds, epoch: epoch, before: lsn) { found in
                let partition = Int(found.partition)
                do throws(TableFold.Failure) {
                    try kafka.apply(found.value, epoch: found.epoch)
                    if let stored, found.offset >= offsets[partition].next {
                        try stored.fold.apply(found.value, epoch: found.epoch)
                        read.behind += 1
                    } else if stored != nil, !offsets[partition].takes(found.offset), read.hole == nil {
                        read.hole =
                            "no object has the record at offset \(found.offset) of \(topic) [\(partition)], nor has one given it up"
                    }
                } catch { failure = error }
                return failure == nil
            }
        } catch { throw CommandErrors.exit(error) }
        if let failure { throw VerifyCommand.exit(failure, of: "topic \(topic)") }
        return read
    }
}
