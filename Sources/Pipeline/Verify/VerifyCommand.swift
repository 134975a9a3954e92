import ChangeData
import LocalStorage
package import Postgres

/// `sluice verify`: compares tables, as of an LSN, with what Kafka and S3 say they are (C11).
///
/// The sink's offsets are read first: what they say was put is there when the objects are listed then. Next a snapshot of the tables is
/// taken together with its LSN: what the objects hold was committed before it. Kafka is waited for until it holds that LSN. Then three things are folded to rows and compared: the
/// table; the topic up to the LSN; the objects, and behind each partition's last object the topic up to the LSN.
///
/// A table that was truncated, rewritten or altered before it was read is compared once more, as of another snapshot. One of which nothing
/// can be said keeps no other from being judged.
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

    /// How often a table is compared that is overtaken each time. Behind one that is truncated all the time nobody is to wait for ever.
    private static let attempts = 3

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

    /// - Parameter patterns: the tables to look at; none: all.
    package func run(tables patterns: [TablePattern], json: Bool) throws(AgentExit) {
        let found = try find(patterns)
        guard !found.isEmpty else {
            throw patterns.isEmpty
                ? AgentExit(.configuration, "postgres.tables matches no table")
                : AgentExit(.usage, "--table matches no table of postgres.tables")
        }
        try KafkaArrival(settings: settings, services: services).requirePosition()
        var report = VerifyReport()
        var pending = found.filter(\.kind.isDecoded)
        report.uncompared = found.filter { !$0.kind.isDecoded }.map { table in
            VerifyReport.Uncompared(
                table: table.qualifiedName, reason: "is no ordinary table: only tables are decoded",
                hint: "take \(table.qualifiedName) out of postgres.tables")
        }
        let disk = try openDisk()
        for attempt in 1...Self.attempts where !pending.isEmpty {
            do throws(AgentExit) {
                pending = try compare(pending, on: disk, json: json, isLast: attempt == Self.attempts, &report)
            } catch {
                // What was found before is told all the same.
                guard attempt > 1, error.code == .unavailable else { throw error }
                report.uncompared += pending.map { .overtaken($0, "could not be compared once more: \(error.message)") }
                break
            }
        }
        for line in json ? [report.json] : report.lines { output.line(line) }
        if let exit = report.exit { throw exit }
    }

    private func find(_ wanted: [TablePattern]) throws(AgentExit) -> [TableFacts] {
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            return try connection.tables(matching: settings.tables).filter { table in
                wanted.isEmpty || wanted.match(schema: table.schema, table: table.name)
            }
        } catch { throw CommandErrors.exit(error) }
    }

    /// Compares tables as of a snapshot of their own.
    /// - Parameter isLast: whether those that are overtaken are given up.
    /// - Returns: the tables to compare once more, as they are described now.
    private func compare(
        _ tables: [TableFacts], on disk: DiskMap, json: Bool, isLast: Bool, _ report: inout VerifyReport
    ) throws(AgentExit) -> [TableFacts] {
        var comparisons: [TableComparison] = []
        for (index, table) in tables.enumerated() {
            comparisons.append(
                try TableComparison(
                    table, settings: settings, services: services, objects: objects, disk: disk, number: 2 * index))
        }
        let wait = SlotWait(settings: settings, output: json ? nil : output, log: services.log)
        var snapshot = try Snapshot.take(settings, saying: wait)
        let position = try KafkaArrival(settings: settings, services: services).wait(for: snapshot.lsn)
        var round = VerifyReport.Round(lsn: snapshot.lsn, held: position.lsn)
        var overtaken: [TableFacts] = []
        var givenUp: [VerifyReport.Uncompared] = []
        for comparison in comparisons {
            let table = comparison.table
            switch try comparison.run(&snapshot, epoch: position.epoch) {
            case .outcomes(let outcomes): round.outcomes += outcomes
            case .overtaken(let why) where isLast: givenUp.append(.overtaken(table, "\(why) while it was compared"))
            case .overtaken: overtaken.append(table)
            case .refused(let error):
                let isPublished = snapshot.publishes(table)
                givenUp.append(.refused(table, error, unpublishedBy: isPublished ? nil : settings.publication))
            }
        }
        var again: [TableFacts] = []
        let present = overtaken.isEmpty ? [] : try find([])
        for table in overtaken {
            if let now = present.first(where: { $0.qualifiedName == table.qualifiedName && $0.kind.isDecoded }) {
                again.append(now)
            } else {
                givenUp.append(.overtaken(table, "was dropped or renamed while it was compared"))
            }
        }
        // All of it or nothing: where something of the above fails, all these tables are without a verdict.
        report.rounds.append(round)
        report.uncompared += givenUp
        return again
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
}
