import Glibc
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
    private let state = Mutex(State())

    private struct State {
        var held: S3Credentials?
        /// Whether somebody asks: the others want the same answer.
        var isAsked = false
    }

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
    /// - Parameters:
    ///   - refused: those that a store does not take any more.
    ///   - abort: ends the call when raised, whether it asks or waits for another thread that does.
    /// - Throws: why there are none, where none are held that may still be good.
    public func current(
        refused: S3Credentials?, abort: AbortFlag = AbortFlag()
    ) throws(StorageError) -> S3Credentials {
        while true {
            let (found, asks) = state.withLock { state -> (S3Credentials?, asks: Bool) in
                if let held = state.held, held != refused, !held.end(within: Self.margin, of: now()) {
                    return (held, asks: false)
                }
                defer { state.isAsked = true }
                return (nil, asks: !state.isAsked)
            }
            if let found { return found }
            if asks { return try ask(refused, abort) }
            guard !abort.isRaised else {
                throw StorageError(.aborted, "credentials", "ended by a shutdown")
            }
            // Seldom, and for as long as an answer takes: not worth a condition that the flag, too, would have to signal.
            usleep(20_000)
        }
    }

    private func ask(_ refused: S3Credentials?, _ abort: AbortFlag) throws(StorageError) -> S3Credentials {
        let result = Result { () throws(StorageError) in try fetch(abort) }
        let held = state.withLock { state in
            state.isAsked = false
            if case .success(let fresh) = result { state.held = fresh }
            return state.held
        }
        if case .failure = result, let held, held != refused, !held.end(within: 0, of: now()) { return held }
        return try result.get()
    }

    private func fetch(_ abort: AbortFlag) throws(StorageError) -> S3Credentials {
        // A machine that has no such service says nothing: a second is long for one that has it.
        var isFar = false
        if case .webIdentity = source { isFar = true }
        let transport = try HTTPTransport(
            .init(
                connectTimeout: isFar ? .seconds(10) : .seconds(1), stallTimeout: .seconds(5), userAgent: "sluice",
                caFile: caFile, usesProxy: isFar), abort: abort)
        return try RoleRequest(source: source, transport: transport, readFile: readFile, members: members).run()
    }
}

extension S3Credentials {
    /// Whether they end in so many seconds.
    func end(within margin: Int64, of now: Int64) -> Bool { expiresAt.map { $0 &- now <= margin } ?? false }
}
