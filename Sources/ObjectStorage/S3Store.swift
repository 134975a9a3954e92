/// One bucket's prefix, over HTTP.
final class S3Store {
    private let settings: S3Settings
    private let address: S3Address
    private let signer: SignatureV4
    private let prefix: String
    private let transport: HTTPTransport
    private let now: () -> Int64

    init(_ settings: S3Settings, abort: AbortFlag, now: @escaping () -> Int64) throws(StorageError) {
        self.settings = settings
        self.now = now
        address = try S3Address(settings)
        var prefix = settings.prefix[...]
        while prefix.hasPrefix("/") { prefix.removeFirst() }
        while prefix.hasSuffix("/") { prefix.removeLast() }
        if !prefix.isEmpty { try ObjectKey.check(String(prefix), "open") }
        self.prefix = prefix.isEmpty ? "" : prefix + "/"
        let credentials = settings.credentials
        let secrets = [
            credentials.accessKeyID, credentials.secretAccessKey, credentials.sessionToken ?? "-", settings.region,
        ]
        // A line feed at the end of a secret's file would otherwise be a header of its own.
        guard secrets.allSatisfy({ !$0.isEmpty && ObjectKey.isHeaderValue($0) }),
            ObjectKey.isHeaderValue(settings.userAgent)
        else {
            throw StorageError(
                .fatal, "open", "region, credentials and user agent must be printable ASCII, and not empty")
        }
        signer = SignatureV4(
            accessKeyID: credentials.accessKeyID, secretAccessKey: credentials.secretAccessKey, region: settings.region)
        let options = HTTPTransport.Options(
            connectTimeout: settings.connectTimeout, stallTimeout: settings.stallTimeout, userAgent: settings.userAgent,
            caFile: settings.caFile, usesProxy: !address.isLoopback)
        transport = try HTTPTransport(options, abort: abort)
    }

    func put(_ put: PutRequest) throws(StorageError) -> PutResult {
        var hash = put.sha256
        if hash == nil { hash = try put.body.sha256("put", key: put.key) }
        var headers = [HeaderField(name: "content-type", value: put.contentType)]
        if let encoding = put.contentEncoding { headers.append(HeaderField(name: "content-encoding", value: encoding)) }
        if put.condition == .ifAbsent { headers.append(HeaderField(name: "if-none-match", value: "*")) }
        headers += put.metadata.map { HeaderField(name: "x-amz-meta-\($0.0)", value: $0.1) }
        var request = try signed(
            .put, key: put.key, headers: headers, payloadHash: hash?.hex ?? S3Store.emptyHash, timeout: put.timeout)
        request.body = put.body
        let answer = try send(request, "put", key: put.key)
        switch answer.status {
        case 200...204: return .created(etag: answer.etag)
        case 412 where put.condition == .ifAbsent: return .alreadyExists
        default: throw StorageError(answer: answer, "put", key: put.key, now: now())
        }
    }

    func head(_ key: String, timeout: Duration?) throws(StorageError) -> ObjectInfo? {
        let answer = try send(try signed(.head, key: key, timeout: timeout), "head", key: key)
        switch answer.status {
        case 200: return try answer.info("head", key: key)
        case 404: return nil
        default: throw StorageError(answer: answer, "head", key: key, now: now())
        }
    }

    func get(_ key: String, timeout: Duration?, sink: ContentSink) throws(StorageError) -> ObjectInfo {
        let request = try signed(.get, key: key, timeout: timeout)
        // Nobody keeps the sink: the transfer that holds it ends with the call.
        let result = withoutActuallyEscaping(sink) { sink in
            Result { () throws(StorageError) in try send(request, "get", key: key, sink: sink) }
        }
        let answer = try result.get()
        guard answer.status == 200 else { throw StorageError(answer: answer, "get", key: key, now: now()) }
        return try answer.info("get", key: key)
    }

    func delete(_ key: String, timeout: Duration?) throws(StorageError) {
        let answer = try send(try signed(.delete, key: key, timeout: timeout), "delete", key: key)
        guard answer.status / 100 == 2 || answer.status == 404 else {
            throw StorageError(answer: answer, "delete", key: key, now: now())
        }
    }

    func list(_ list: ListRequest) throws(StorageError) -> ListPage {
        var query = [("list-type", "2"), ("max-keys", String(list.max)), ("prefix", prefix + list.prefix)]
        if list.delimited { query.append(("delimiter", "/")) }
        if let token = list.continuing?.token {
            query.append(("continuation-token", token))
        } else if let startAfter = list.startAfter {
            query.append(("start-after", prefix + startAfter))
        }
        var request = try signed(.get, key: nil, query: query, timeout: list.timeout)
        // A thousand keys of a kilobyte, each byte of them an entity, and the rest around them.
        request.answerLimit = 16 << 20
        let answer = try send(request, "list", key: list.prefix)
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

    private func send(_ request: HTTPRequest, _ operation: String, key: String?, sink: ContentSink? = nil)
        throws(StorageError) -> HTTPResponse
    {
        do {
            return try transport.perform(request, sink: sink)
        } catch {
            throw StorageError(error, operation, key: key)
        }
    }

    /// - Parameter key: nil is the bucket itself.
    private func signed(
        _ method: HTTPRequest.Method, key: String?, query: [(String, String)] = [], headers: [HeaderField] = [],
        payloadHash: String = S3Store.emptyHash, timeout: Duration?
    ) throws(StorageError) -> HTTPRequest {
        let time = SigningTime(unixSeconds: now())
        let path = address.basePath + "/" + (key.map { PercentEncoding.encode(prefix + $0, keepsSlash: true) } ?? "")
        var fields = headers
        fields.append(HeaderField(name: "host", value: address.host))
        fields.append(HeaderField(name: "x-amz-content-sha256", value: payloadHash))
        fields.append(HeaderField(name: "x-amz-date", value: time.stamp))
        if let token = settings.credentials.sessionToken {
            fields.append(HeaderField(name: "x-amz-security-token", value: token))
        }
        let request = SignableRequest(
            method: method.rawValue, path: path, query: query, headers: fields, payloadHash: payloadHash)
        let authorization = try signer.authorization(request, at: time)
        let question = query.isEmpty ? "" : "?" + request.canonicalQuery
        return HTTPRequest(
            method: method, url: "\(address.scheme)://\(address.host)\(path)\(question)",
            headers: fields + [HeaderField(name: "authorization", value: authorization)],
            timeout: timeout ?? settings.requestTimeout)
    }

    /// SHA-256 of nothing.
    private static let emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
}

extension HTTPResponse {
    fileprivate var etag: String? {
        self["etag"].map { String($0.drop { $0 == "\"" }.prefix { $0 != "\"" }) }
    }

    fileprivate func info(_ operation: String, key: String) throws(StorageError) -> ObjectInfo {
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
