extension StorageError {
    /// The one place where S3's refusals are classified: any answer that is not the one that was hoped for.
    init(answer: HTTPResponse, _ operation: String, key: String?, now: Int64) {
        let document = S3ErrorDocument(answer.body)
        let code = document?.code
        let said = document.map { $0.message.isEmpty ? $0.code : $0.message }
        var message = said ?? "the store answered \(answer.status)"
        var hint: String?
        switch (answer.status, code) {
        case (403, "SignatureDoesNotMatch"?): hint = "is the secret key the right one, and the region?"
        case (403, "InvalidAccessKeyId"?): hint = "the store does not know this access key"
        case (403, "RequestTimeTooSkewed"?): hint = "set this machine's clock"
        case (400, "ExpiredToken"?), (403, "ExpiredToken"?): hint = "the session token has expired"
        case (403, "AccessDenied"?) where operation == "put":
            hint =
                "grant s3:PutObject; if the bucket's policy asks for headers, set s3.encryption, s3.kms_key_id or s3.acl"
        case (400, "AccessControlListNotSupported"?): hint = "the bucket has no ACLs: leave s3.acl out"
        case (400, let code?) where code.hasPrefix("KMS."): hint = "look at the key that s3.kms_key_id names"
        case (404, "NoSuchBucket"?): hint = "create the bucket, or correct s3.url"
        case (301, _), (307, _), (400, "AuthorizationHeaderMalformed"?):
            if let region = answer["x-amz-bucket-region"].map({ printable($0, limit: 40) }) ?? document?.region {
                message += "; the bucket is in region \(region)"
                hint = "set s3.region"
            } else {
                hint = "is s3.endpoint the bucket's own?"
            }
        default: break
        }
        self.init(
            StorageError.kind(status: answer.status, code: code, isHead: operation == "head"), operation, key: key,
            status: answer.status,
            code: code,
            message, hint: hint, retryAfter: answer["retry-after"].flatMap { parseRetryAfter($0, now: now) })
    }

    private static func kind(status: Int, code: String?, isHead: Bool) -> Kind {
        switch (status, code) {
        case (404, "NoSuchBucket"?): .fatal
        case (404, _): .notFound
        case (412, _): .precondition
        case (400, "ExpiredToken"?), (400, "InvalidToken"?), (400, "TokenRefreshRequired"?): .denied
        // So AWS refuses an expired token, and the answer to a HEAD has no room to say so.
        case (400, nil) where isHead: .denied
        case (400, "RequestTimeout"?), (400, "IncompleteBody"?), (400, "SlowDown"?): .transient
        // The key service has its own limit of calls, and a key that is disabled is given back by people.
        case (400, "ThrottlingException"?), (400, "KMS.ThrottlingException"?): .transient
        case (400, "KMS.DisabledException"?), (400, "KMS.KMSInvalidStateException"?): .denied
        case (401, _), (403, _): .denied
        // Another write to the same key is in progress, or was: which of the two won shows at the next attempt.
        case (409, "ConditionalRequestConflict"?), (409, "OperationAborted"?), (409, nil): .transient
        // A bucket so new that its name does not yet lead to it.
        case (307, _): .transient
        case (408, _), (425, _), (429, _): .transient
        // What the server cannot do at all; every other 5xx is a bad moment. A 5xx to a put leaves the object there or not:
        // a conditional put that is repeated meets it as `alreadyExists`.
        case (501, _), (505, _): .fatal
        case (500..., _): .transient
        default: .fatal
        }
    }
}

/// Why an answer that says 200 is none of an object store: proxies and login pages say it too, and a store that has begun its
/// answer can put an error only into it.
struct StrangeAnswer {
    let code: String?
    let reason: String

    func error(_ kind: StorageError.Kind, _ operation: String, key: String, status: Int) -> StorageError {
        StorageError(
            kind, operation, key: key, status: status, code: code, "the answer is not an object store's: \(reason)",
            hint: code == nil ? "does a proxy or a login page answer for s3.endpoint?" : nil)
    }
}

extension HTTPResponse {
    /// Without its quotes. That of a put is not compared with the body's MD5: under SSE-KMS and SSE-C it looks like one, and is
    /// none. The store itself has compared the body with the SHA-256 that was signed.
    var etag: String? { self["etag"].map { String($0.drop { $0 == "\"" }.prefix { $0 != "\"" }) } }

    /// Of a put. S3 answers 200 with the object's ETag and without content.
    var whyNoReceipt: StrangeAnswer? {
        if let document = S3ErrorDocument(body) {
            return StrangeAnswer(code: document.code, reason: "it holds an error: \(document.message)")
        }
        if body.contains(where: { !Self.isBlank($0) }) {
            let type = self["content-type"].map { printable($0, limit: 80) } ?? "no type"
            return StrangeAnswer(code: nil, reason: "it has content (\(type))")
        }
        return status == 200 && self["etag"] != nil ? nil : StrangeAnswer(code: nil, reason: "it has no ETag")
    }

    /// Of a question for an object.
    var whyNoObject: StrangeAnswer? {
        let isOfAStore = self["etag"] != nil || headers.contains { $0.name.hasPrefix("x-amz-") }
        return isOfAStore ? nil : StrangeAnswer(code: nil, reason: "it has no ETag")
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
