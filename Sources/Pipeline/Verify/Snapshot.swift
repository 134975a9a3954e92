import ChangeData
import Glibc
import Postgres

/// The tables as of one LSN: a snapshot that a temporary slot has exported, and the connection that sees it.
struct Snapshot: ~Copyable {
    /// Everything that was committed before it is shown, and nothing else.
    let lsn: LSN
    private var connection: PostgresConnection
    /// The snapshot can be imported as long as this lives.
    private let exporter: ReplicationConnection

    private init(lsn: LSN, connection: consuming PostgresConnection, exporter: consuming ReplicationConnection) {
        self.lsn = lsn
        self.connection = connection
        self.exporter = exporter
    }

    /// Waits, as every slot does, for the transactions that are running.
    static func take(_ settings: StreamSettings, output: Output?) throws(AgentExit) -> Snapshot {
        do throws(PostgresError) {
            var exporter = try ReplicationConnection(connecting: settings.postgres, timeout: .seconds(10))
            var waited = 0
            let exported = try exporter.exportSnapshot(
                slot: "sluice_verify_\(getpid())", timeout: .seconds(600),
                whileWaiting: {
                    waited += 1
                    if waited % 5 == 0 { output?.line("waiting for running transactions to end (\(waited) s)") }
                    return true
                })
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            try connection.begin(snapshot: exported.snapshot)
            return Snapshot(lsn: exported.consistentPoint, connection: connection, exporter: exporter)
        } catch { throw CommandErrors.exit(error) }
    }

    mutating func contents(_ reader: TableReader) throws(AgentExit) -> TableReader.Contents {
        do throws(TableReader.Failure) {
            return try reader.contents(&connection)
        } catch {
            switch error {
            case .postgres(let error): throw CommandErrors.exit(error)
            case .encoding(let error): throw StreamFailures.exit(error)
            case .fold(let error): throw AgentExit(.software, error.reason)
            }
        }
    }
}
