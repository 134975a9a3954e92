/// What is put. It can be read more than once, so that a put can be repeated.
public enum ObjectBody: Sendable {
    /// Bytes in memory.
    case bytes([UInt8])
    /// The first `length` bytes of an open file, read with `pread` from offset 0. The caller keeps the descriptor open,
    /// and the bytes as they are, until the put has returned.
    case file(descriptor: Int32, length: Int)

    /// Its length in bytes.
    public var length: Int {
        switch self {
        case .bytes(let bytes): bytes.count
        case .file(_, let length): length
        }
    }
}

/// Whether a put may replace an object.
public enum PutCondition: Sendable, Equatable {
    /// Only if there is none under the key (`If-None-Match: *`). Of racing puts exactly one wins.
    case ifAbsent
    /// In any case. In a directory, the metadata and the body of a replaced object do not change in one step.
    case none
}

/// How a put ended that did not fail.
public enum PutResult: Sendable, Equatable {
    /// The object is stored, durably, and is ours.
    case created(etag: String?)
    /// There was an object already (412). It may be our own, of an earlier attempt: compare its metadata.
    case alreadyExists
}

/// What a store says of an object without its content.
public struct ObjectInfo: Sendable, Equatable {
    /// Bytes as stored.
    public let size: Int64
    /// User metadata; names in lower case, without `x-amz-meta-`.
    public let metadata: [String: String]
    /// The store's own tag, without quotes: not always a digest. In a directory: the SHA-256 of the stored bytes.
    public let etag: String?
    /// `Content-Type`.
    public let contentType: String?
    /// `Content-Encoding`.
    public let contentEncoding: String?
}

/// One object of a listing.
public struct ListedObject: Sendable, Equatable {
    /// Its key, without the store's prefix.
    public let key: String
    /// Bytes as stored.
    public let size: Int64
}

/// Where a listing goes on. Of use only with the store and the arguments that it came from.
public struct ListContinuation: Sendable, Equatable {
    let token: String
}

/// A part of a listing.
public struct ListPage: Sendable, Equatable {
    /// Objects, by the order of their keys' bytes.
    public let objects: [ListedObject]
    /// With a delimiter: what keys share up to the next `/`, that slash included.
    public let commonPrefixes: [String]
    /// Passed to the next call; nil after the last page.
    public let next: ListContinuation?
}

/// What the store does with `If-None-Match: *`.
public enum ConditionalSupport: Sendable, Equatable {
    /// It refuses the second put, as it should.
    case honoured
    /// It replaced an object that it should have kept: two workers could both win.
    case ignored
    /// It refuses the header itself; the text is the store's.
    case refused(String)
}
