import Synchronization

/// The temporary keys of a role: fetched when they are first needed, and again before they end. All stores of a process share one.
public final class RoleCredentials: Sendable {
    /// How long before their end keys are fetched anew, seconds: an upload that has begun with them must get through.
    static let margin: Int64 = 300

    private let source: RoleSource
    private let caFile: String?
    private let now: @Sendable () -> Int64
    private let readFile: @Sendable (String) -> [UInt8]?
    private let members: @Sendable ([UInt8]) -> [String: String]?
    private let held = Mutex<S3Credentials?>(nil)

    /// - Parameters:
    ///   - caFile: authorities for https, beside the system's.
    ///   - now: seconds since 1970.
    ///   - readFile: the bytes of a file; nil where it cannot be read.
    ///   - members: the members of a JSON object that are strings.
    public init(
        _ source: RoleSource, caFile: String? = nil, now: @escaping @Sendable () -> Int64 = ObjectStore.systemSeconds,
        readFile: @escaping @Sendable (String) -> [UInt8]?,
        members: @escaping @Sendable ([UInt8]) -> [String: String]?
    ) {
        self.source = source
        self.caFile = caFile
        self.now = now
        self.readFile = readFile
        self.members = members
    }

    /// Keys that are good for a while.
    /// - Parameter refused: those that a store does not take any more.
    /// - Throws: why there are none, where none are held that may still be good.
    public func current(refused: S3Credentials?) throws(StorageError) -> S3Credentials {
        // Locked while it asks: the others want the same answer.
        let result = held.withLock { held -> Result<S3Credentials, StorageError> in
            if let held, held != refused, !held.end(within: Self.margin, of: now()) { return .success(held) }
            do throws(StorageError) {
                let fresh = try fetch()
                held = fresh
                return .success(fresh)
            } catch {
                if let held, held != refused, !held.end(within: 0, of: now()) { return .success(held) }
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func fetch() throws(StorageError) -> S3Credentials {
        // A machine that has no such service says nothing: a second is long for one that has it.
        var isFar = false
        if case .webIdentity = source { isFar = true }
        let transport = try HTTPTransport(
            .init(
                connectTimeout: isFar ? .seconds(10) : .seconds(1), stallTimeout: .seconds(5), userAgent: "sluice",
                caFile: caFile, usesProxy: isFar), abort: AbortFlag())
        return try RoleRequest(source: source, transport: transport, readFile: readFile, members: members).run()
    }
}

extension S3Credentials {
    /// Whether they end in so many seconds.
    func end(within margin: Int64, of now: Int64) -> Bool { expiresAt.map { $0 &- now <= margin } ?? false }
}
