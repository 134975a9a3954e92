/// One bucket's prefix, over HTTP.
final class S3Store {
    private let settings: S3Settings
    private let address: S3Address
    /// Nil until the first request, where they are to be found.
    private var credentials: S3Credentials?
    /// Unix seconds when the credentials were last looked up.
    private var renewedAt: Int64 = .min / 2
    private let prefix: String
    private let transport: HTTPTransport
    private let now: () -> Int64
    /// How this server verifies, as far as we know.
    private var spelling = SignableRequest.Spelling.strict
    /// A bucket with a default retention (Object Lock) wants a checksum by this name, beside the signed hash; other servers refuse it.
    private var wantsChecksum = false

    init(_ settings: S3Settings, abort: AbortFlag, now: @escaping () -> Int64) throws(StorageError) {
        self.settings = settings
        self.now = now
        address = try S3Address(settings)
        var prefix = settings.prefix[...]
        while prefix.hasPrefix("/") { prefix.removeFirst() }
        while prefix.hasSuffix("/") { prefix.removeLast() }
        if !prefix.isEmpty { try ObjectKey.check(String(prefix), "open") }
        self.prefix = prefix.isEmpty ? "" : prefix + "/"
        credentials = settings.credentials
        guard settings.credentials != nil || settings.findCredentials != nil else {
            throw StorageError(.fatal, "open", "there are no credentials")
        }
        // A line feed at the end of a secret's file would otherwise be a header of its own.
        guard credentials.map({ Self.canSign(settings, $0) }) ?? true, ObjectKey.isHeaderValue(settings.userAgent),
            settings.headersOfPuts.allSatisfy({ !$0.value.isEmpty && ObjectKey.isHeaderValue($0.value) })
        else {
            throw StorageError(
                .fatal, "open",
                "region, credentials, user agent, encryption key and ACL must be printable ASCII, and not empty")
        }
        let options = HTTPTransport.Options(
            connectTimeout: settings.connectTimeout, stallTimeout: settings.stallTimeout, userAgent: settings.userAgent,
            caFile: settings.caFile, usesProxy: !address.isLoopback)
        transport = try HTTPTransport(options, abort: abort)
    }

    private static func canSign(_ settings: S3Settings, _ credentials: S3Credentials) -> Bool {
        [credentials.accessKeyID, credentials.secretAccessKey, credentials.sessionToken ?? "-", settings.region]
            .allSatisfy { !$0.isEmpty && ObjectKey.isHeaderValue($0) }
    }

    /// Those that requests are signed with.
    /// - Throws: why there are none yet.
    private func currentCredentials(_ request: Request) throws(StorageError) -> S3Credentials {
        if credentials?.end(within: RoleCredentials.margin, of: now()) == true { _ = renewCredentials() }
        if let credentials { return credentials }
        guard let found = try settings.findCredentials?(nil, transport.abort), Self.canSign(settings, found) else {
            throw StorageError(
                .denied, request.operation, key: request.key, "there are no credentials that can be used")
        }
        credentials = found
        return found
    }

    /// Whether there are other credentials by now. What keeps them from being found shows in what the store says to these.
    private func renewCredentials() -> Bool {
        let time = now()
        // A clock that was set back must not keep us from asking until it is where it was.
        guard let find = settings.findCredentials, !(0..<5).contains(time &- renewedAt) else { return false }
        renewedAt = time
        guard let fresh = try? find(credentials, transport.abort), fresh != credentials, Self.canSign(settings, fresh)
        else {
            return false
        }
        credentials = fresh
        return true
    }

    func put(_ put: PutRequest) throws(StorageError) -> PutResult {
        var hash = put.sha256
        if hash == nil { hash = try put.body.sha256("put", key: put.key) }
        var request = Request(.put, "put", key: put.key, timeout: put.timeout)
        if let hash { request.payloadHash = hash.hex }
        request.body = put.body
        request.headers.append(HeaderField(name: "content-type", value: put.contentType))
        if let encoding = put.contentEncoding {
            request.headers.append(HeaderField(name: "content-encoding", value: encoding))
        }
        if put.condition == .ifAbsent { request.headers.append(HeaderField(name: "if-none-match", value: "*")) }
        request.headers += put.metadata.map { HeaderField(name: "x-amz-meta-\($0.0)", value: $0.1) }
        request.headers += settings.headersOfPuts
        var answer = try sendWithChecksum(request, hash)
        if answer.status == 400, !wantsChecksum,
            S3ErrorDocument(answer.body)?.message.contains("x-amz-checksum") == true
        {
            wantsChecksum = true
            answer = try sendWithChecksum(request, hash)
        }
        switch answer.status {
        case 200...299:
            // After this error the object is looked for: so a store with a word of its own costs a question, and loses nothing.
            if let why = answer.whyNoReceipt {
                throw why.error(.indefinite, "put", key: put.key, status: answer.status)
            }
            return .created(etag: answer.etag)
        case 412 where put.condition == .ifAbsent: return .alreadyExists
        default: throw StorageError(answer: answer, "put", key: put.key, now: now())
        }
    }

    private func sendWithChecksum(_ put: Request, _ hash: SHA256Digest?) throws(StorageError) -> HTTPResponse {
        guard wantsChecksum, let hash else { return try send(put) }
        var request = put
        request.headers.append(HeaderField(name: "x-amz-checksum-sha256", value: base64(hash.bytes)))
        return try send(request)
    }

    func head(_ key: String, timeout: Duration?) throws(StorageError) -> ObjectInfo? {
        let answer = try send(Request(.head, "head", key: key, timeout: timeout))
        switch answer.status {
        case 200: return try answer.info("head", key: key)
        case 404: return nil
        default: throw StorageError(answer: answer, "head", key: key, now: now())
        }
    }

    func get(_ key: String, timeout: Duration?, sink: ContentSink) throws(StorageError) -> ObjectInfo {
        let request = Request(.get, "get", key: key, timeout: timeout)
        // Nobody keeps the sink: the transfer that holds it ends with the call.
        let result = withoutActuallyEscaping(sink) { sink in
            Result { () throws(StorageError) in try send(request, sink: sink) }
        }
        let answer = try result.get()
        guard answer.status == 200 else { throw StorageError(answer: answer, "get", key: key, now: now()) }
        return try answer.info("get", key: key)
    }

    func delete(_ key: String, timeout: Duration?) throws(StorageError) {
        let answer = try send(Request(.delete, "delete", key: key, timeout: timeout))
        guard answer.status / 100 == 2 || answer.status == 404 else {
            throw StorageError(answer: answer, "delete", key: key, now: now())
        }
    }

    func list(_ list: ListRequest) throws(StorageError) -> ListPage {
        var request = Request(.get, "list", key: list.prefix, timeout: list.timeout)
        request.isOfBucket = true
        request.query = [("list-type", "2"), ("max-keys", String(list.max)), ("prefix", prefix + list.prefix)]
        if list.delimited { request.query.append(("delimiter", "/")) }
        if let token = list.continuing?.token {
            request.query.append(("continuation-token", token))
        } else if let startAfter = list.startAfter {
            request.query.append(("start-after", prefix + startAfter))
        }
        // A thousand keys of a kilobyte, each byte of them an entity, and the rest around them.
        request.answerLimit = 16 << 20
        let answer = try send(request)
        guard answer.status == 200 else { throw StorageError(answer: answer, "list", key: list.prefix, now: now()) }
        do {
            let document = try S3ListDocument(answer.body, removing: prefix)
            // AWS gives a prefix again that `start-after` lies in; a directory does not. One behaviour for both.
            let prefixes = document.commonPrefixes.filter { prefix in
                list.startAfter.map { KeyOrder.precedes($0, prefix) } ?? true
            }
            return ListPage(
                objects: document.objects, commonPrefixes: prefixes,
                next: document.continuationToken.map(ListContinuation.init))
        } catch {
            throw StorageError(
                .transient, "list", key: list.prefix, status: answer.status,
                "the answer is not a listing: \(error.reason) at byte \(error.offset)")
        }
    }

    /// What is asked for, before it is signed.
    private struct Request {
        var method: HTTPRequest.Method
        var operation: String
        var key: String
        var timeout: Duration?
        /// Of the bucket itself; `key` is then only for errors.
        var isOfBucket = false
        var query: [(name: String, value: String)] = []
        var headers: [HeaderField] = []
        var payloadHash = S3Store.emptyHash
        var body = ObjectBody.bytes([])
        var answerLimit = 64 * 1024

        init(_ method: HTTPRequest.Method, _ operation: String, key: String, timeout: Duration?) {
            (self.method, self.operation, self.key, self.timeout) = (method, operation, key, timeout)
        }
    }

    private func send(_ request: Request, sink: ContentSink? = nil) throws(StorageError) -> HTTPResponse {
        let answer = try sendOnce(request, sink)
        guard answer.status / 100 == 4,
            StorageError(answer: answer, request.operation, key: request.key, now: now()).kind == .denied,
            renewCredentials()
        else { return answer }
        return try sendOnce(request, sink)
    }

    private func sendOnce(_ request: Request, _ sink: ContentSink?) throws(StorageError) -> HTTPResponse {
        let credentials = try currentCredentials(request)
        let time = SigningTime(unixSeconds: now())
        var signable = signable(request, credentials, at: time)
        let answer = try send(request, signable, credentials, at: time, sink)
        guard answer.status == 403, spelling == .strict, signable.dependsOnSpelling else { return answer }
        // A wrong signature may be the server's reading of `=` and `+` in the path: moto's, and no AWS client's keys get past
        // it. The other spelling is tried once, and kept if it is the right one. HEAD's refusals come without a code.
        let code = S3ErrorDocument(answer.body)?.code
        guard code == "SignatureDoesNotMatch" || request.method == .head && code == nil else { return answer }
        signable.spelling = .decoded
        let second = try send(request, signable, credentials, at: time, sink)
        switch second.status {
        case 200..<300, 404, 412:
            spelling = .decoded
            return second
        // A store that has a bad moment has not said whether it can read the signature.
        case 500...: return second
        default: return answer
        }
    }

    private func send(
        _ request: Request, _ signable: SignableRequest, _ credentials: S3Credentials, at time: SigningTime,
        _ sink: ContentSink?
    ) throws(StorageError) -> HTTPResponse {
        let signer = SignatureV4(
            accessKeyID: credentials.accessKeyID, secretAccessKey: credentials.secretAccessKey, region: settings.region)
        let authorization = try signer.authorization(signable, at: time)
        let question = signable.query.isEmpty ? "" : "?" + signable.encodedQuery
        var http = HTTPRequest(
            method: request.method, url: "\(address.scheme)://\(address.host)\(signable.encodedPath)\(question)",
            headers: signable.headers + [HeaderField(name: "authorization", value: authorization)],
            timeout: request.timeout ?? settings.timeout(forBody: request.body.length))
        http.body = request.body
        http.answerLimit = request.answerLimit
        do {
            return try transport.perform(http, sink: sink)
        } catch {
            throw StorageError(error, request.operation, key: request.key)
        }
    }

    private func signable(
        _ request: Request, _ credentials: S3Credentials, at time: SigningTime
    ) -> SignableRequest {
        var headers = request.headers
        headers.append(HeaderField(name: "host", value: address.host))
        headers.append(HeaderField(name: "x-amz-content-sha256", value: request.payloadHash))
        headers.append(HeaderField(name: "x-amz-date", value: time.stamp))
        if let token = credentials.sessionToken {
            headers.append(HeaderField(name: "x-amz-security-token", value: token))
        }
        return SignableRequest(
            method: request.method.rawValue,
            path: address.basePath + "/" + (request.isOfBucket ? "" : prefix + request.key),
            query: request.query, headers: headers, payloadHash: request.payloadHash, spelling: spelling)
    }

    /// SHA-256 of nothing.
    private static let emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
}

extension HTTPResponse {
    func info(_ operation: String, key: String) throws(StorageError) -> ObjectInfo {
        if let why = whyNoObject { throw why.error(.transient, operation, key: key, status: status) }
        guard let size = self["content-length"].flatMap({ Int64($0) }), size >= 0 else {
            throw StorageError(.transient, operation, key: key, status: status, "the answer has no length")
        }
        var metadata: [String: String] = [:]
        let mark = "x-amz-meta-"
        for field in headers where field.name.hasPrefix(mark) {
            metadata[String(field.name.dropFirst(mark.count))] = field.value
        }
        return ObjectInfo(
            size: size, metadata: metadata, etag: etag, contentType: self["content-type"],
            contentEncoding: self["content-encoding"])
    }
}
