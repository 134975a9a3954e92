/// What went wrong between us and a store. Classified once, where it was made; safe to print: it holds no secret and
/// no object's content.
public struct StorageError: Error, Sendable, Equatable {
    /// What a caller may do about it.
    public enum Kind: String, Sendable, Equatable {
        /// Nothing was stored by a put that failed so, or the same call may simply be repeated: 5xx, 408, 429, 409 in the
        /// middle of another write, connections that failed before the request was sent, a full disk.
        case transient
        /// The whole body may have reached the store, and no answer came: the object is there or not. Read it back.
        case indefinite
        /// The caller's `AbortFlag` ended it. As little is known of the outcome as with `indefinite`.
        case aborted
        /// A condition of the request did not hold (412). A put reports this as a result, not as an error.
        case precondition
        /// No such object.
        case notFound
        /// The store knows us not, or does not allow it; `code` says which (`SignatureDoesNotMatch`, `AccessDenied`...).
        case denied
        /// What an object holds is not what was written there.
        case malformed
        /// Wrong settings, a broken answer, or our own fault: repeating does not help.
        case fatal
    }

    /// The class.
    public let kind: Kind
    /// The operation that failed: `put`, `head`, `get`, `list`, `delete`, `open`, `compress`...
    public let operation: String
    /// The object's key or the listing's prefix, without the store's own prefix; nil where there is none.
    public let key: String?
    /// The HTTP status, if there was an answer.
    public let httpStatus: Int?
    /// S3's error code, `CURLE_<n>` or the name of errno.
    public let code: String?
    /// What happened, on one line.
    public let message: String
    /// What the user can do, where we know it.
    public let hint: String?
    /// How long the store asked us to wait (`Retry-After`).
    public let retryAfter: Duration?

    package init(
        _ kind: Kind, _ operation: String, key: String? = nil, status: Int? = nil, code: String? = nil,
        _ message: String, hint: String? = nil, retryAfter: Duration? = nil
    ) {
        self.kind = kind
        self.operation = operation
        self.key = key
        self.httpStatus = status
        self.code = code
        self.message = message
        self.hint = hint
        self.retryAfter = retryAfter
    }
}

extension StorageError: CustomStringConvertible {
    /// One line: operation, key, what happened, status and code, and the hint.
    public var description: String {
        var text = operation
        if let key { text += " \(key)" }
        text += ": \(message)"
        let facts = [httpStatus.map { "HTTP \($0)" }, code].compactMap { $0 }
        if !facts.isEmpty { text += " (\(facts.joined(separator: ", ")))" }
        if let hint { text += "; \(hint)" }
        return text
    }
}

/// Texts from outside are cut and freed of control characters before they get into an error.
func printable(_ text: String, limit: Int = 300) -> String {
    var result = ""
    for scalar in text.unicodeScalars.prefix(limit) {
        let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
        result.unicodeScalars.append(isControl ? " " : scalar)
    }
    return result
}
