internal import CSQLite
import Glibc

/// Maps of bytes to bytes that may be larger than memory: a SQLite database of a cache of bounded size over a file without a name,
/// which vanishes with its owner, even a killed one. Nothing in it outlives the process, so nothing is ever waited for to be on the disk.
///
/// One thread owns it. The maps are told apart by a number.
public final class DiskMap {
    private let directory: String
    private let database: OpaquePointer
    private var prepared: [String: OpaquePointer] = [:]

    /// - Parameters:
    ///   - directory: on a local disk; must exist.
    ///   - cacheBytes: what is kept in memory.
    ///   - limit: bytes that the file may take.
    /// - Throws: `unusable` where no file can be made there.
    public init(in directory: String, cacheBytes: Int, limit: Int) throws(DiskMapError) {
        self.directory = directory
        // Made here and not by SQLite, which would let others read it.
        let path = "\(directory)/.sluice-map-\(getpid())-\(String(UInt64.random(in: 0 ... .max), radix: 16))"
        let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw DiskMapError(.unusable, "\(directory): \(String(cString: strerror(errno)))")
        }
        close(file)
        defer { unlink(path) }
        var opened: OpaquePointer?
        let code = sqlite3_open_v2(path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nil)
        guard code == SQLITE_OK, let opened else {
            let why = String(cString: sqlite3_errstr(code))
            sqlite3_close_v2(opened)
            throw DiskMapError(.unusable, "\(directory): \(why)")
        }
        database = opened
        let page = 8192
        for statement in [
            "PRAGMA page_size = \(page)", "PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF",
            "PRAGMA locking_mode = EXCLUSIVE", "PRAGMA cache_size = -\(max(1, cacheBytes >> 10))",
            "PRAGMA max_page_count = \(max(8, limit / page))",
            "CREATE TABLE pairs (map INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, UNIQUE (map, key))",
            // Never committed: the changed pages that the cache cannot hold go to the file all the same.
            "BEGIN",
        ] {
            try check(sqlite3_exec(database, statement, nil, nil, nil))
        }
    }

    deinit {
        for statement in prepared.values { sqlite3_finalize(statement) }
        sqlite3_close_v2(database)
    }

    /// The value of a key; nil where there is none.
    /// - Throws: `DiskMapError`
    public func value(of key: [UInt8], in map: Int) throws(DiskMapError) -> [UInt8]? {
        let statement = try statement("SELECT value FROM pairs WHERE map = ?1 AND key = ?2")
        defer { sqlite3_reset(statement) }
        return try bound(key, map, nil, statement) { () throws(DiskMapError) in
            try step(statement) ? Self.blob(statement, 0) : nil
        }
    }

    /// Sets the value of a key, in place of what it was.
    /// - Throws: `full`, or `unusable`.
    public func set(_ key: [UInt8], to value: [UInt8], in map: Int) throws(DiskMapError) {
        let statement = try statement(
            "INSERT INTO pairs VALUES (?1, ?2, ?3) ON CONFLICT (map, key) DO UPDATE SET value = excluded.value")
        defer { sqlite3_reset(statement) }
        try bound(key, map, value, statement) { () throws(DiskMapError) in _ = try step(statement) }
    }

    /// Takes a key out; nothing where it is not there.
    /// - Throws: `DiskMapError`
    public func remove(_ key: [UInt8], in map: Int) throws(DiskMapError) {
        let statement = try statement("DELETE FROM pairs WHERE map = ?1 AND key = ?2")
        defer { sqlite3_reset(statement) }
        try bound(key, map, nil, statement) { () throws(DiskMapError) in _ = try step(statement) }
    }

    /// Takes all keys of a map out.
    /// - Throws: `DiskMapError`
    public func removeAll(in map: Int) throws(DiskMapError) {
        let statement = try statement("DELETE FROM pairs WHERE map = ?1")
        defer { sqlite3_reset(statement) }
        sqlite3_bind_int64(statement, 1, Int64(map))
        _ = try step(statement)
    }

    /// What a pair is compared by.
    public enum Part { case key, value }

    /// Takes out all pairs of a map whose key, or value, comes before `bytes`. It looks at each of them.
    /// - Throws: `DiskMapError`
    public func removeAll(in map: Int, where part: Part, isBefore bytes: [UInt8]) throws(DiskMapError) {
        let statement = try statement(
            part == .key
                ? "DELETE FROM pairs WHERE map = ?1 AND key < ?2" : "DELETE FROM pairs WHERE map = ?1 AND value < ?2")
        defer { sqlite3_reset(statement) }
        try bound(bytes, map, nil, statement) { () throws(DiskMapError) in _ = try step(statement) }
    }

    /// Shows each pair of a map, by key. The maps stay as they are meanwhile.
    /// - Throws: `DiskMapError`
    public func forEach(in map: Int, _ body: (_ key: [UInt8], _ value: [UInt8]) -> Void) throws(DiskMapError) {
        let statement = try statement("SELECT key, value FROM pairs WHERE map = ?1 ORDER BY key")
        defer { sqlite3_reset(statement) }
        sqlite3_bind_int64(statement, 1, Int64(map))
        while try step(statement) { body(Self.blob(statement, 0), Self.blob(statement, 1)) }
    }

    // MARK: Statements

    private func statement(_ text: String) throws(DiskMapError) -> OpaquePointer {
        if let statement = prepared[text] { return statement }
        var made: OpaquePointer?
        try check(sqlite3_prepare_v3(database, text, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &made, nil))
        guard let made else { throw DiskMapError(.unusable, "\(directory): no statement") }
        prepared[text] = made
        return made
    }

    /// Runs `body` while the statement's parameters are the bytes themselves, not copies.
    private func bound<Result>(
        _ key: [UInt8], _ map: Int, _ value: [UInt8]?, _ statement: OpaquePointer,
        _ body: () throws(DiskMapError) -> Result
    ) throws(DiskMapError) -> Result {
        func bind(_ bytes: UnsafeRawBufferPointer, at parameter: Int32) -> Int32 {
            // An empty array may have no address, and no address would be null.
            bytes.isEmpty
                ? sqlite3_bind_zeroblob(statement, parameter, 0)
                : sqlite3_bind_blob64(statement, parameter, bytes.baseAddress, UInt64(bytes.count), nil)
        }
        let content = value ?? []
        return try key.span.withUnsafeBytes { (key) throws(DiskMapError) in
            try content.span.withUnsafeBytes { (bytes) throws(DiskMapError) in
                try check(sqlite3_bind_int64(statement, 1, Int64(map)))
                try check(bind(key, at: 2))
                if value != nil { try check(bind(bytes, at: 3)) }
                // What it points to ends with this call.
                defer { sqlite3_clear_bindings(statement) }
                return try body()
            }
        }
    }

    /// Whether there is a row.
    private func step(_ statement: OpaquePointer) throws(DiskMapError) -> Bool {
        let code = sqlite3_step(statement)
        if code == SQLITE_ROW { return true }
        guard code != SQLITE_DONE else { return false }
        throw error(code)
    }

    private static func blob(_ statement: OpaquePointer, _ column: Int32) -> [UInt8] {
        let count = Int(sqlite3_column_bytes(statement, column))
        guard count > 0, let bytes = sqlite3_column_blob(statement, column) else { return [] }
        return Array(UnsafeRawBufferPointer(start: bytes, count: count))
    }

    private func check(_ code: Int32) throws(DiskMapError) {
        if code != SQLITE_OK { throw error(code) }
    }

    private func error(_ code: Int32) -> DiskMapError {
        let text = "\(directory): \(String(cString: sqlite3_errmsg(database)))"
        return DiskMapError(code & 0xFF == SQLITE_FULL || code & 0xFF == SQLITE_TOOBIG ? .full : .unusable, text)
    }
}
