import Glibc

/// What a put needs, gathered.
struct PutRequest {
    var key: String
    var body: ObjectBody
    var metadata: [(String, String)]
    var contentType: String
    var contentEncoding: String?
    var condition: PutCondition
    var sha256: SHA256Digest?
    var timeout: Duration?
}

/// What a listing needs, gathered.
struct ListRequest {
    var prefix: String
    var startAfter: String?
    var delimited: Bool
    var max: Int
    var continuing: ListContinuation?
    var timeout: Duration?
}

/// A store of objects under keys: puts one, once, or says why not.
///
/// Blocking, and for one thread at a time: open one in each thread that stores. Nothing is retried inside.
/// Keys are relative to the store's prefix (or root); parts between slashes are not empty and do not begin with a dot.
public final class ObjectStore {
    private enum Backend {
        case s3(S3Store)
        case file(FileStore)
    }

    private let backend: Backend

    /// Opens a store; nothing is sent yet.
    /// - Parameters:
    ///   - abort: ends the running call when raised from another thread.
    ///   - now: seconds since 1970, for signatures and `Retry-After`.
    /// - Throws: `fatal` for settings that cannot be.
    public init(
        _ location: StoreLocation, abort: AbortFlag = AbortFlag(),
        now: @escaping () -> Int64 = ObjectStore.systemSeconds
    ) throws(StorageError) {
        switch location {
        case .s3(let settings): backend = .s3(try S3Store(settings, abort: abort, now: now))
        case .file(let settings): backend = .file(try FileStore(settings, abort: abort))
        }
    }

    /// The system's clock: seconds since 1970.
    public static func systemSeconds() -> Int64 { Int64(time(nil)) }

    /// Stores an object, durably, in one step.
    ///
    /// After `alreadyExists`, and after an error of kind `indefinite` or `aborted`, the object under the key may be this very
    /// one: `head` it and compare its metadata.
    /// - Parameters:
    ///   - metadata: names of `a-z`, `0-9` and `-` (without `x-amz-meta-`), values of printable ASCII; 2 KB in all.
    ///   - sha256: of the body's bytes, if the caller has it; computed otherwise. The store checks it.
    ///   - timeout: of this request; nil is the settings'.
    public func put(
        _ key: String, body: ObjectBody, metadata: [(String, String)] = [], contentType: String = "application/json",
        contentEncoding: String? = nil, condition: PutCondition = .ifAbsent, sha256: SHA256Digest? = nil,
        timeout: Duration? = nil
    ) throws(StorageError) -> PutResult {
        try ObjectKey.check(key, "put")
        try ObjectKey.check(metadata: metadata, key)
        guard ObjectKey.isHeaderValue(contentType), contentEncoding.map(ObjectKey.isHeaderValue) ?? true else {
            throw StorageError(.fatal, "put", key: key, "a content type or encoding is printable ASCII")
        }
        let request = PutRequest(
            key: key, body: body, metadata: metadata, contentType: contentType, contentEncoding: contentEncoding,
            condition: condition, sha256: sha256, timeout: timeout)
        switch backend {
        case .s3(let store): return try store.put(request)
        case .file(let store): return try store.put(request)
        }
    }

    /// What is known of an object; nil if there is none.
    public func head(_ key: String, timeout: Duration? = nil) throws(StorageError) -> ObjectInfo? {
        try ObjectKey.check(key, "head")
        switch backend {
        case .s3(let store): return try store.head(key, timeout: timeout)
        case .file(let store): return try store.head(key)
        }
    }

    /// Reads an object, piece by piece.
    /// - Parameter sink: called with each piece, in order; false ends the reading early, without an error.
    /// - Throws: `notFound`; `transient` when it was cut in the middle: begin again.
    @discardableResult
    public func get(_ key: String, timeout: Duration? = nil, into sink: (Span<UInt8>) -> Bool) throws(StorageError)
        -> ObjectInfo
    {
        try ObjectKey.check(key, "get")
        switch backend {
        case .s3(let store): return try store.get(key, timeout: timeout, sink: sink)
        case .file(let store): return try store.get(key, sink: sink)
        }
    }

    /// Lists a part of the keys that begin with `prefix`, in the order of their bytes.
    /// - Parameters:
    ///   - prefix: any text, not only whole parts; empty is everything.
    ///   - startAfter: only keys (and common prefixes) after this one. With `continuing`, the same as in the first call.
    ///   - delimited: keys that have a `/` after the prefix are summed up in `commonPrefixes`.
    ///   - max: 1...1000.
    public func list(
        prefix: String, startAfter: String? = nil, delimited: Bool = false, max: Int = 1000,
        continuing: ListContinuation? = nil, timeout: Duration? = nil
    ) throws(StorageError) -> ListPage {
        let request = ListRequest(
            prefix: prefix, startAfter: startAfter, delimited: delimited, max: Swift.max(1, Swift.min(max, 1000)),
            continuing: continuing, timeout: timeout)
        switch backend {
        case .s3(let store): return try store.list(request)
        case .file(let store): return try store.list(request)
        }
    }

    /// Removes an object; without complaint if there is none. For tests and tools: sluice itself never deletes.
    public func delete(_ key: String, timeout: Duration? = nil) throws(StorageError) {
        try ObjectKey.check(key, "delete")
        switch backend {
        case .s3(let store): try store.delete(key, timeout: timeout)
        case .file(let store): try store.delete(key)
        }
    }

    /// Asks the store whether it honours `If-None-Match: *`, by putting a small object twice under `_sluice/probe`, where it
    /// stays.
    /// - Throws: what a put throws, but for a refusal of the header itself, which is a result.
    public func probeConditional() throws(StorageError) -> ConditionalSupport {
        let body = ObjectBody.bytes(Array("{}\n".utf8))
        do {
            for _ in 0..<2 {
                if try put("_sluice/probe", body: body) == .alreadyExists { return .honoured }
            }
            return .ignored
        } catch {
            guard error.httpStatus == 501 else { throw error }
            return .refused(error.message)
        }
    }

    /// Whether a directory can be written to now; it leaves nothing there. A bucket that can be is one that `probeConditional` got
    /// an answer from: the right to put is asked for before the condition.
    public func probeWriting() throws(StorageError) {
        if case .file(let store) = backend { try store.probe("_sluice/probe") }
    }
}
