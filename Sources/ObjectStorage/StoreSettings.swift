/// Where objects go. Each case has the same promises.
public enum StoreLocation: Sendable {
    /// S3, or a server that speaks its protocol.
    case s3(S3Settings)
    /// A directory of a local file system.
    case file(FileStoreSettings)
}

/// The keys of an S3 user, or of a session.
public struct S3Credentials: Sendable, Equatable {
    /// The public half.
    public var accessKeyID: String
    /// The secret half: never printed.
    public var secretAccessKey: String
    /// The token of temporary credentials: never printed.
    public var sessionToken: String?
    /// When temporary ones end, seconds since 1970; nil where that is not known.
    public var expiresAt: Int64?

    /// Credentials as the user gave them, or as a service has.
    public init(
        accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil, expiresAt: Int64? = nil
    ) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
        self.expiresAt = expiresAt
    }
}

// Neither interpolation, nor `dump`, nor a failed expectation may show the secrets.
extension S3Credentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The access key's id alone.
    public var description: String { "S3Credentials(\(accessKeyID), ***)" }
    /// As `description`.
    public var debugDescription: String { description }
    /// As `description`.
    public var customMirror: Mirror { Mirror(self, children: ["accessKeyID": accessKeyID]) }
}

/// How a store encrypts what it keeps. Whoever may read an object does not see it.
public enum ServerSideEncryption: Sendable, Equatable {
    /// With keys of S3's own.
    case aes256
    /// With a key of AWS's key service: its id, ARN or alias; nil is the account's own for S3. An object's tag is then no digest.
    case kms(keyID: String?)
}

/// All that is needed to reach one prefix of one bucket.
public struct S3Settings: Sendable {
    /// The bucket's name.
    public var bucket: String
    /// Put before every key, with a `/` between; may be empty. A slash at either end is ignored.
    public var prefix: String
    /// `http://host[:port]` or `https://...`; nil is AWS's endpoint of the region.
    public var endpoint: String?
    /// The region that signatures name.
    public var region: String
    /// The bucket in the path and not in the host's name.
    public var pathStyle: Bool
    /// Who we are; nil where `findCredentials` says.
    public var credentials: S3Credentials?
    /// Looks credentials up where they come from: nil at first, then those that the store has refused, or that end soon. Nil is the
    /// answer of whoever has no others. Called from every thread that has a store, with that one's flag.
    public var findCredentials:
        (@Sendable (_ refused: S3Credentials?, _ abort: AbortFlag) throws(StorageError) -> S3Credentials?)?
    /// A PEM file of certificate authorities, beside the system's.
    public var caFile: String?
    /// What the store is asked to encrypt each object with; nil leaves it to the bucket.
    public var encryption: ServerSideEncryption?
    /// The canned ACL of each object, in S3's spelling; nil leaves it to the bucket.
    public var acl: String?
    /// For name lookup, connection and TLS handshake.
    public var connectTimeout: Duration = .seconds(10)
    /// For a whole request, beside what `leastRate` allows its body.
    public var requestTimeout: Duration = .seconds(300)
    /// The slowest link on which a body still gets through, bytes a second: a large one takes its time, and `stallTimeout` ends
    /// one that does not move.
    public var leastRate = 64 << 10
    /// A request that moves no byte for so long has failed. Whole seconds.
    public var stallTimeout: Duration = .seconds(30)
    /// The `User-Agent`.
    public var userAgent: String = "sluice"

    /// Settings with the default time-outs.
    public init(
        bucket: String, prefix: String = "", endpoint: String? = nil, region: String = "us-east-1",
        pathStyle: Bool = false, credentials: S3Credentials?, caFile: String? = nil
    ) {
        self.bucket = bucket
        self.prefix = prefix
        self.endpoint = endpoint
        self.region = region
        self.pathStyle = pathStyle
        self.credentials = credentials
        self.caFile = caFile
    }

    /// What a bucket's policy may ask of every put.
    var headersOfPuts: [HeaderField] {
        var headers: [HeaderField] = []
        switch encryption {
        case .aes256: headers.append(HeaderField(name: "x-amz-server-side-encryption", value: "AES256"))
        case .kms(let keyID):
            headers.append(HeaderField(name: "x-amz-server-side-encryption", value: "aws:kms"))
            if let keyID {
                headers.append(HeaderField(name: "x-amz-server-side-encryption-aws-kms-key-id", value: keyID))
            }
        case nil: break
        }
        if let acl { headers.append(HeaderField(name: "x-amz-acl", value: acl)) }
        return headers
    }

    func timeout(forBody length: Int) -> Duration { requestTimeout + .seconds(length / max(1, leastRate)) }
}

/// A directory as a store.
public struct FileStoreSettings: Sendable, Equatable {
    /// The directory under which keys are paths. Made, with its parents, if it is missing.
    public var root: String

    /// A store below `root`.
    public init(root: String) { self.root = root }
}
