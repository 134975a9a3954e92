import ChangeData
import Glibc
import Postgres

/// The tables as of one LSN: a snapshot that a temporary slot has exported, and the connection that sees it.
struct Snapshot: ~Copyable {
    /// Everything that was committed before it is shown, and nothing else.
    let lsn: LSN
    private var connection: PostgresConnection
    /// What is published of the tables; nil: there is no such publication.
    private let publication: Publication?
    /// The snapshot can be imported as long as this lives.
    private let exporter: ReplicationConnection

    private init(
        lsn: LSN, publication: Publication?, connection: consuming PostgresConnection,
        exporter: consuming ReplicationConnection
    ) {
        self.lsn = lsn
        self.publication = publication
        self.connection = connection
        self.exporter = exporter
    }

    /// Waits, as every slot does, for the transactions that are running, and says which.
    static func take(_ settings: StreamSettings, saying wait: SnapshotWait) throws(AgentExit) -> Snapshot {
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
                lsn: exported.consistentPoint, publication: publication, connection: connection, exporter: exporter)
        } catch {
            var exit = CommandErrors.exit(error)
            if error.kind == .timedOut, !wait.running.isEmpty {
                exit.message = "postgres: no snapshot in ten minutes, for these transactions have not ended"
                exit.details = wait.running
            }
            throw exit
        }
    }

    /// Shows each row of a table.
    mutating func forEachRow(
        _ reader: TableReader, _ body: (TableReader.Found) throws(TableFold.Failure) -> Void
    ) throws(AgentExit) {
        do throws(TableReader.Failure) {
            try reader.forEachRow(&connection, of: publication, body)
        } catch {
            switch error {
            case .postgres(let error): throw CommandErrors.exit(error)
            case .encoding(let error): throw StreamFailures.exit(error)
            case .fold(let error): throw VerifyCommand.exit(error, of: reader.title)
            }
        }
    }
}
