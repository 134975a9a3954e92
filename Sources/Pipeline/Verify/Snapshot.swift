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

    /// Waits, as every slot does, for the transactions that are running.
    static func take(_ settings: StreamSettings, output: Output?) throws(AgentExit) -> Snapshot {
        do throws(PostgresError) {
            var exporter = try ReplicationConnection(connecting: settings.postgres, timeout: .seconds(10))
            var waited = 0
            // In each container the process may have the same number.
            let slotName = "sluice_verify_\(getpid())_\(String(UInt32.random(in: .min ... .max), radix: 16))"
            let exported = try exporter.exportSnapshot(
                slot: slotName, timeout: .seconds(600),
                whileWaiting: {
                    waited += 1
                    if waited % 5 == 0 { output?.line("waiting for running transactions to end (\(waited) s)") }
                    return true
                })
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            try connection.begin(snapshot: exported.snapshot)
            let publication = try connection.publication(named: settings.publication)
            return Snapshot(
                lsn: exported.consistentPoint, publication: publication, connection: connection, exporter: exporter)
        } catch { throw CommandErrors.exit(error) }
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
