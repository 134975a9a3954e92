import ChangeData
import Glibc
import Postgres

/// The tables as of one LSN: a snapshot that a temporary slot has exported, and the connection that sees it.
///
/// TRUNCATE and what writes a table anew do not heed snapshots that are there. To keep them out from here until the table is read would
/// hold up whoever does that, and all behind him. So no lock is held while nothing is read, and each reading is judged once it is over.
struct Snapshot: ~Copyable {
    /// How the reading of a table went.
    enum Reading: Equatable {
        /// Its rows were those of the snapshot.
        case done
        /// They were not: what has happened to the table since.
        case overtaken(String)
        /// The server did not let it be read.
        case refused(PostgresError)
    }

    /// Everything that was committed before it is shown, and nothing else.
    let lsn: LSN
    private let settings: ConnectionSettings
    private var connection: PostgresConnection
    /// What is published of the tables; nil: there is no such publication.
    private let publication: Publication?
    /// The snapshot can be imported as long as this lives.
    private let exporter: ReplicationConnection

    private init(
        lsn: LSN, settings: ConnectionSettings, publication: Publication?, connection: consuming PostgresConnection,
        exporter: consuming ReplicationConnection
    ) {
        self.lsn = lsn
        self.settings = settings
        self.publication = publication
        self.connection = connection
        self.exporter = exporter
    }

    /// Waits, as every slot does, for the transactions that are running, and says which.
    static func take(_ settings: StreamSettings, saying wait: SlotWait) throws(AgentExit) -> Snapshot {
        do throws(PostgresError) {
            var exporter = try ReplicationConnection(connecting: settings.postgres, timeout: .seconds(10))
            // In each container the process may have the same number.
            let slotName = "sluice_verify_\(getpid())_\(String(UInt32.random(in: .min ... .max), radix: 16))"
            let exported = try exporter.exportSnapshot(
                slot: slotName, timeout: .seconds(600),
                whileWaiting: {
                    wait.tick()
                    return true
                })
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            try connection.begin(snapshot: exported.snapshot)
            let publication = try connection.publication(named: settings.publication)
            return Snapshot(
                lsn: exported.consistentPoint, settings: settings.postgres, publication: publication,
                connection: connection, exporter: exporter)
        } catch {
            var exit = CommandErrors.exit(error)
            if error.kind == .timedOut, !wait.running.isEmpty {
                exit.message = "postgres: no snapshot in ten minutes, for these transactions have not ended"
                exit.details = wait.running
            }
            throw exit
        }
    }

    /// Whether rows of a table are published, under its name or its partitions'.
    func publishes(_ table: TableFacts) -> Bool {
        let published = publication?.tables ?? []
        return published.contains { $0.oid == table.oid || table.partitionLeaves.contains($0.oid) }
    }

    /// Shows each row of a table. Only what it answers says what they are worth.
    /// - Throws: where nothing more can be read of this snapshot.
    mutating func forEachRow(
        _ reader: TableReader, _ body: (TableReader.Found) throws(TableFold.Failure) -> Void
    ) throws(AgentExit) -> Reading {
        do throws(TableReader.Failure) {
            try execute("SAVEPOINT one_table")
            var reading: Reading
            do throws(TableReader.Failure) {
                try reader.forEachRow(&connection, of: publication, body)
                reading = try judge(reader)
            } catch {
                guard case .postgres(let refusal) = error else { throw error }
                reading =
                    refusal.kind == .undefined ? .overtaken("was altered (\(refusal.message))") : .refused(refusal)
            }
            // The snapshot stays, the table's lock goes: others are read for long after this one.
            do throws(TableReader.Failure) {
                try execute("ROLLBACK TO SAVEPOINT one_table; RELEASE SAVEPOINT one_table")
            } catch {
                // The connection is gone, and this says why.
                if case .refused(let first) = reading { throw .postgres(first) }
                throw error
            }
            return reading
        } catch {
            switch error {
            case .postgres(let error): throw CommandErrors.exit(error)
            case .encoding(let error): throw StreamFailures.exit(error)
            case .fold(let error): throw VerifyCommand.exit(error, of: reader.title)
            }
        }
    }

    /// Whether the table is still what it was when the snapshot was taken. As long as the reading's lock is held nobody changes that:
    /// what another connection sees now is what was read.
    private mutating func judge(_ reader: TableReader) throws(TableReader.Failure) -> Reading {
        let oid = reader.table.oid
        do throws(PostgresError) {
            let then = try connection.storage(of: oid)
            var present = try PostgresConnection(connecting: settings, timeout: .seconds(10))
            guard try present.storage(of: oid) == then else { return .overtaken("was truncated or rewritten") }
            // What was found before the snapshot says how the rows are to be written.
            guard let facts = try present.tables(oids: [oid]).first, reader.reads(facts) else {
                return .overtaken("was altered")
            }
            return .done
        } catch { throw .postgres(error) }
    }

    private mutating func execute(_ sql: String) throws(TableReader.Failure) {
        do throws(PostgresError) { try connection.execute(sql) } catch { throw .postgres(error) }
    }
}
