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
