import Glibc
import Testing

@testable import ObjectStorage

/// A real server, from a variable `endpoint,access key,secret,bucket[,session token]`.
struct S3Server: Sendable, CustomStringConvertible {
    let description: String
    let settings: S3Settings
    /// moto takes any payload; rclone replaces objects in spite of `If-None-Match` and has no metadata in its own memory.
    let honoursConditions: Bool
    let checksPayload: Bool

    init?(_ name: String, honoursConditions: Bool, checksPayload: Bool) {
        guard let value = getenv("SLUICE_TEST_S3_\(name)").map({ String(cString: $0) }) else { return nil }
        let parts = value.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 4 else { return nil }
        description = name
        // A prefix of its own for each run: the servers outlive it.
        settings = S3Settings(
            bucket: parts[3], prefix: "run \(getpid())/\(name)/pré+fix=1", endpoint: parts[0], pathStyle: true,
            credentials: S3Credentials(
                accessKeyID: parts[1], secretAccessKey: parts[2], sessionToken: parts.count > 4 ? parts[4] : nil))
        self.honoursConditions = honoursConditions
        self.checksPayload = checksPayload
    }

    static let all = [
        S3Server("MOTO", honoursConditions: true, checksPayload: false),
        S3Server("MOTO_SESSION", honoursConditions: true, checksPayload: false),
        S3Server("PROXY", honoursConditions: true, checksPayload: true),
        S3Server("RCLONE", honoursConditions: false, checksPayload: false),
    ].compactMap { $0 }

    func store(_ change: (inout S3Settings) -> Void = { _ in }) throws(StorageError) -> ObjectStore {
        var settings = settings
        change(&settings)
        return try ObjectStore(.s3(settings))
    }
}

@Suite(.enabled(if: !S3Server.all.isEmpty, "needs SLUICE_TEST_S3_MOTO, _MOTO_SESSION, _PROXY or _RCLONE"))
struct S3ServerTests {
    static let key = "t.a-b/year=2024/month=01/day=02/hour=03/t.a-b+0+0000000000.json.lz4"

    @Test(arguments: S3Server.all) func putHeadGet(_ server: S3Server) throws {
        let store = try server.store()
        let metadata = [("sluice-start", "0"), ("sluice-first-pos", "1/0/16B3748/17"), ("sluice-sha256", "ab  cd")]
        let body = jsonRows(3000)
        // moto decodes and encodes again, and gets the rarer ones wrong for every client.
        let rare = server.description.hasPrefix("MOTO") ? "é/ü+= .json" : "spaces and é/ü+=&;,:@!$'()*~?#%.json"
        for key in [S3ServerTests.key, rare, "plain"] {
            #expect(try store.head(key) == nil)
            guard case .created = try store.put(key, body: .bytes(body), metadata: metadata) else {
                Issue.record("not created")
                continue
            }
            let info = try #require(try store.head(key))
            #expect(info.size == Int64(body.count))
            #expect(info.metadata["sluice-start"] == "0" && info.metadata["sluice-first-pos"] == "1/0/16B3748/17")
            #expect(info.etag?.contains("\"") == false && info.contentType == "application/json")
            #expect(try store.bytes(key) == body)
            if server.honoursConditions {
                #expect(try store.put(key, body: .bytes([1])) == .alreadyExists)
                #expect(try store.bytes(key) == body)
            }
            #expect(try store.put(key, body: .bytes([1, 2]), condition: .none) != .alreadyExists)
            #expect(try store.bytes(key) == [1, 2])
            try store.delete(key)
            #expect(try store.head(key) == nil)
            #expect(#expect(throws: StorageError.self) { try store.bytes(key) }?.kind == .notFound)
        }
    }

    /// moto keeps what a put asks for, and tells it.
    @Test(arguments: S3Server.all.filter { $0.description == "MOTO" }) func encryptionIsAskedFor(
        _ server: S3Server
    ) throws {
        var settings = server.settings
        // Spelt in one way only.
        settings.prefix = "sse\(getpid())"
        func store(_ encryption: ServerSideEncryption?, acl: String? = nil) throws -> ObjectStore {
            var settings = settings
            (settings.encryption, settings.acl) = (encryption, acl)
            return try ObjectStore(.s3(settings))
        }
        func headers(of key: String) throws -> [String: String] {
            let (address, credentials) = (try S3Address(settings), try #require(settings.credentials))
            let time = SigningTime(unixSeconds: ObjectStore.systemSeconds())
            var request = SignableRequest(
                method: "HEAD", path: "\(address.basePath)/\(settings.prefix)/\(key)",
                headers: [
                    HeaderField(name: "host", value: address.host),
                    HeaderField(name: "x-amz-content-sha256", value: SignatureTests.empty),
                    HeaderField(name: "x-amz-date", value: time.stamp),
                ], payloadHash: SignatureTests.empty)
            let signer = SignatureV4(
                accessKeyID: credentials.accessKeyID, secretAccessKey: credentials.secretAccessKey,
                region: settings.region)
            request.headers.append(
                HeaderField(name: "authorization", value: try signer.authorization(request, at: time)))
            let transport = try HTTPTransport(
                .init(
                    connectTimeout: .seconds(5), stallTimeout: .seconds(5), userAgent: "test", caFile: nil,
                    usesProxy: false), abort: AbortFlag())
            let answer = try transport.perform(
                HTTPRequest(
                    method: .head, url: "\(address.scheme)://\(address.host)\(request.encodedPath)",
                    headers: request.headers, timeout: .seconds(10)))
            try #require(answer.status == 200)
            return Dictionary(answer.headers.map { ($0.name, $0.value) }) { first, _ in first }
        }
        let name = "x-amz-server-side-encryption"
        #expect(try store(nil).put("plain-sse", body: .bytes([1])) != .alreadyExists)
        #expect(try headers(of: "plain-sse")[name] != "aws:kms")
        #expect(
            try store(.aes256, acl: "bucket-owner-full-control").put("own-sse", body: .bytes([1])) != .alreadyExists)
        #expect(try headers(of: "own-sse")[name] == "AES256")
        let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        let managed = try store(.kms(keyID: key))
        #expect(try managed.put("kms-sse", body: .bytes([1, 2])) != .alreadyExists)
        let found = try headers(of: "kms-sse")
        #expect(found[name] == "aws:kms" && found["\(name)-aws-kms-key-id"] == key)
        // Conditions, and reading, are as without.
        #expect(try managed.put("kms-sse", body: .bytes([3])) == .alreadyExists)
        #expect(try managed.bytes("kms-sse") == [1, 2] && managed.probeConditional() == .honoured)
    }

    @Test(arguments: S3Server.all) func largeFromAFile(_ server: S3Server) throws {
        let store = try server.store()
        let rows = jsonRows(20_000)
        var spool = try SpoolFile(in: "/tmp")
        for _ in 0..<3 { try spool.append(rows.span) }
        // Above curl's megabyte: with `Expect: 100-continue`.
        #expect(spool.length > 4 << 20)
        #expect(try store.put("large", body: spool.body) != .alreadyExists)
        #expect(try store.bytes("large") == rows + rows + rows)
        #expect(try store.put("empty", body: .bytes([])) != .alreadyExists)
        #expect(try store.bytes("empty") == [])
        var pieces = 0
        #expect(
            try store.get("large") { _ in
                pieces += 1; return false
            }.size == Int64(spool.length))
        #expect(pieces == 1)
        #expect(try store.head("large")?.size == Int64(spool.length))
    }

    @Test(arguments: S3Server.all) func wrongCredentials(_ server: S3Server) throws {
        func failure(_ change: (inout S3Settings) -> Void) throws -> StorageError? {
            let store = try server.store(change)
            return #expect(throws: StorageError.self) { try store.put("denied", body: .bytes([1])) }
        }
        let secret = try failure { $0.credentials?.secretAccessKey = "wrong" }
        #expect(secret?.kind == .denied && secret?.httpStatus == 403)
        #expect(secret?.code == "SignatureDoesNotMatch")
        let key = try failure { $0.credentials?.accessKeyID = "AKIAWRONG" }
        #expect(key?.kind == .denied)
        if server.settings.credentials?.sessionToken != nil {
            #expect(try failure { $0.credentials?.sessionToken = "wrong" }?.kind == .denied)
        }
        let hush = try #require(server.settings.credentials?.secretAccessKey)
        #expect(secret.map { !"\($0)".contains(hush) } == true)
        let bucket = try failure { $0.bucket = "no-such-bucket" }
        #expect(bucket?.kind == .fatal && bucket?.code == "NoSuchBucket")
    }

    @Test(arguments: S3Server.all.filter(\.checksPayload)) func wrongPayloadHash(_ server: S3Server) throws {
        let store = try server.store()
        let other = try SHA256Digest.of([9])
        let error = #expect(throws: StorageError.self) { try store.put("hash", body: .bytes([1]), sha256: other) }
        #expect(error?.kind == .fatal && error?.httpStatus == 400)
        #expect(try store.head("hash") == nil)
    }

    /// rclone and moto do not look at the time.
    @Test(arguments: S3Server.all.filter { $0.description == "PROXY" }) func wrongClock(_ server: S3Server) throws {
        let store = try ObjectStore(.s3(server.settings), now: { ObjectStore.systemSeconds() - 86_400 })
        let error = #expect(throws: StorageError.self) { try store.put("clock", body: .bytes([1])) }
        #expect(error?.kind == .denied)
    }

    @Test(arguments: S3Server.all) func lists(_ server: S3Server) throws {
        let store = try server.store()
        let keys = (0..<23).map { "list/h=\($0 % 3)/t+0+\($0 * 7)" } + ["list/a+b=c é&<>", "list-a", "list/h=0.json"]
        for key in keys {
            #expect(try store.put(key, body: .bytes(Array(key.utf8)), condition: .none) != .alreadyExists)
        }
        let sorted = keys.filter { $0.hasPrefix("list/") }.sorted(by: KeyOrder.precedes)
        #expect(try store.keys("list/") == sorted)
        for max in [2, 7] { #expect(try store.keys("list/", max: max).sorted(by: KeyOrder.precedes) == sorted) }
        #expect(
            try store.keys("list/h=0/", startAfter: "list/h=0/t+0+21")
                == sorted.filter {
                    $0.hasPrefix("list/h=0/") && KeyOrder.precedes("list/h=0/t+0+21", $0)
                })
        #expect(try store.list(prefix: "list/h=1/").objects.allSatisfy { $0.size == Int64($0.key.utf8.count) })
        let page = try store.list(prefix: "list/", delimited: true)
        #expect(page.commonPrefixes == ["list/h=0/", "list/h=1/", "list/h=2/"])
        #expect(page.objects.map(\.key) == ["list/a+b=c é&<>", "list/h=0.json"])
        #expect(try store.list(prefix: "nothing/") == ListPage(objects: [], commonPrefixes: [], next: nil))
    }

    @Test(arguments: S3Server.all) func probes(_ server: S3Server) throws {
        let store = try server.store()
        for _ in 0..<2 { #expect(try store.probeConditional() == (server.honoursConditions ? .honoured : .ignored)) }
    }

    @Test(arguments: S3Server.all.filter(\.honoursConditions)) func racersHaveOneWinner(_ server: S3Server) throws {
        for round in 0..<5 {
            let outcomes = onThreads(6) { writer -> String in
                do {
                    let store = try server.store()
                    let body = ObjectBody.bytes(Array("writer \(writer)".utf8))
                    for _ in 0..<50 {
                        do {
                            let result = try store.put("race\(round)", body: body, metadata: [("writer", "\(writer)")])
                            return result == .alreadyExists ? "lost" : "\(writer)"
                        } catch let error as StorageError where error.kind == .transient { continue }
                    }
                    return "never"
                } catch { return "\(error)" }
            }
            let winners = outcomes.filter { $0 != "lost" }
            #expect(winners.count == 1)
            let store = try server.store()
            #expect(try store.head("race\(round)")?.metadata["writer"] == winners.first)
            #expect(try store.bytes("race\(round)") == Array("writer \(winners.first ?? "")".utf8))
        }
    }

    /// `SLUICE_TEST_S3_TLS` is `endpoint,access key,secret,bucket,CA file`: any of the servers behind TLS, with an authority
    /// of its own.
    @Test(.enabled(if: getenv("SLUICE_TEST_S3_TLS") != nil, "needs SLUICE_TEST_S3_TLS")) func secureTransport() throws {
        guard let value = getenv("SLUICE_TEST_S3_TLS").map({ String(cString: $0) }) else { return }
        let parts = value.split(separator: ",").map(String.init)
        var settings = S3Settings(
            bucket: parts[3], prefix: "tls\(getpid())", endpoint: parts[0], pathStyle: true,
            credentials: S3Credentials(accessKeyID: parts[1], secretAccessKey: parts[2]), caFile: parts[4])
        let store = try ObjectStore(.s3(settings))
        #expect(try store.put("k", body: .bytes([1])) != .alreadyExists)
        #expect(try store.bytes("k") == [1])
        settings.caFile = nil
        let unknown = #expect(throws: StorageError.self) { try ObjectStore(.s3(settings)).head("k") }
        #expect(unknown?.kind == .fatal && unknown?.hint?.contains("ca_file") == true)
        settings.caFile = "/nonexistent.pem"
        #expect(#expect(throws: StorageError.self) { try ObjectStore(.s3(settings)).head("k") }?.kind == .fatal)
    }
}
