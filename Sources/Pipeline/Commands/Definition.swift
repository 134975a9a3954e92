import Postgres

/// A statement of `init` or `drop` that changes what the database has. Its error names it, and who was in its way.
struct Definition {
    /// All its names are qualified and quoted, and it calls nothing: see `PostgresConnection.define`.
    let sql: String
    let settings: ConnectionSettings
    let output: Output
    /// It waits for locks of tables, which a vacuum, or the building of an index, holds for as long as it takes.
    var timeout: Duration = .seconds(30)

    func run(on connection: inout PostgresConnection) throws(PostgresError) {
        let pid = connection.backendPID
        var (waited, wait) = (0, nil as LockWait?)
        do throws(PostgresError) {
            try connection.define(
                sql, timeout: timeout,
                whileWaiting: {
                    waited += 1
                    guard waited % 5 == 2, let found = lockWait(of: pid) else { return }
                    wait = found
                    output.line("\(shown): \(found) (\(waited) s)")
                })
        } catch {
            let blocked = error.kind == .timedOut ? wait.map(\.description) : nil
            throw PostgresError(
                error.kind, "\(shown): \(error.message)", sqlState: error.sqlState,
                detail: [error.detail, blocked].compactMap(\.self).joined(separator: "; ").nonEmpty, hint: error.hint)
        }
    }

    /// The statement, which may name thousands of tables.
    private var shown: String { sql.count > 200 ? sql.prefix(200) + "..." : sql }

    /// Asked on another connection: this one waits. Nil also where that cannot be asked.
    private func lockWait(of pid: Int32) -> LockWait? {
        do throws(PostgresError) {
            var other = try PostgresConnection(connecting: settings, timeout: .seconds(2))
            return try other.lockWait(of: pid)
        } catch { return nil }
    }
}

extension String {
    fileprivate var nonEmpty: String? { isEmpty ? nil : self }
}
