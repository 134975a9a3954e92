import Dates
import Glibc
import Synchronization
import Testing

@testable import ObjectStorage

/// Keys of a role, from services that a script plays.
@Suite struct RoleTests {
    private static let keys =
        #"{"AccessKeyId":"ASIA1","SecretAccessKey":"s1","Token":"t1","Expiration":"2023-11-14T23:00:00Z"}"#
    /// An hour and a bit before that.
    private static let now: Int64 = 1_699_999_000

    private final class Clock: Sendable {
        let now = Mutex(RoleTests.now)
    }

    /// What JSON is to these tests: one flat object of strings.
    @Sendable private static func members(_ bytes: [UInt8]) -> [String: String]? {
        let text = String(decoding: bytes, as: UTF8.self)
        guard text.hasPrefix("{"), text.hasSuffix("}") else { return nil }
        let pairs = text.dropFirst().dropLast().split(separator: ",").map { pair in
            let parts = pair.split(separator: "\"", omittingEmptySubsequences: true).filter { $0 != ":" }
            return (String(parts.first ?? ""), String(parts.last ?? ""))
        }
        return Dictionary(pairs, uniquingKeysWith: { first, _ in first })
    }

    private func role(
        _ source: RoleSource, _ clock: Clock = Clock(), files: [String: String] = [:]
    ) -> RoleCredentials {
        RoleCredentials(
            source, now: { clock.now.withLock { $0 } }, readFile: { files[$0].map { Array($0.utf8) } },
            members: Self.members)
    }

    private static func answer(_ body: String) -> ScriptedServer.Script {
        .answer(ScriptedServer.response("200 OK", body))
    }

    @Test func aTokenOfTheClusterIsExchanged() throws {
        let server = ScriptedServer([
            Self.answer(
                """
                <AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
                <Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s1</SecretAccessKey><SessionToken>t1</SessionToken>
                <Expiration>2023-11-14T23:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
                </AssumeRoleWithWebIdentityResponse>
                """)
        ])
        defer { server.close() }
        let source = RoleSource.webIdentity(
            tokenFile: "/token", role: "arn:aws:iam::1:role/a b", session: "sluice",
            endpoint: "http://127.0.0.1:\(server.port)")
        let found = try role(source, files: ["/token": "header.pay/load\n"]).current(refused: nil)
        #expect(found.accessKeyID == "ASIA1" && found.secretAccessKey == "s1" && found.sessionToken == "t1")
        #expect(found.expiresAt == 1_700_002_800)
        let asked = server.requests.withLock { $0.first ?? "" }
        // No log of an address shows the token.
        #expect(asked.hasPrefix("POST / HTTP/1.1\r\n") && !asked.contains("header.pay"))
        let kinds = asked.lowercased().split(separator: "\r\n").filter { $0.hasPrefix("content-type:") }
        #expect(kinds == ["content-type: application/x-www-form-urlencoded"])
        let form = """
            Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%20b\
            &RoleSessionName=sluice&WebIdentityToken=header.pay%2Fload
            """
        #expect(server.bodies.withLock { $0 } == [form])
        #expect(asked.lowercased().contains("content-length: \(form.utf8.count)"))
        #expect(throws: StorageError.self) { try role(source).current(refused: nil) }
    }

    @Test func theContainersServiceWantsItsToken() throws {
        let server = ScriptedServer([Self.answer(Self.keys)])
        defer { server.close() }
        let url = "http://127.0.0.1:\(server.port)/v1/credentials"
        let source = RoleSource.container(url: url, authorization: nil, authorizationFile: "/authorization")
        let found = try role(source, files: ["/authorization": "Bearer x"]).current(refused: nil)
        #expect(found.accessKeyID == "ASIA1" && found.sessionToken == "t1")
        let asked = server.requests.withLock { $0.first ?? "" }
        #expect(asked.hasPrefix("GET /v1/credentials ") && asked.contains("authorization: Bearer x"))
    }

    @Test func theInstanceIsAskedForATokenFirst() throws {
        let server = ScriptedServer([Self.answer("tok"), Self.answer("my role\n"), Self.answer(Self.keys)])
        defer { server.close() }
        let found = try role(.instance(endpoint: "http://127.0.0.1:\(server.port)/")).current(refused: nil)
        #expect(found.secretAccessKey == "s1")
        let asked = server.requests.withLock { $0 }
        try #require(asked.count == 3)
        #expect(asked[0].hasPrefix("PUT /latest/api/token ") && asked[0].contains("ttl-seconds: 21600"))
        #expect(asked[2].hasPrefix("GET /latest/meta-data/iam/security-credentials/my%20role "))
        #expect(
            asked[1].contains("x-aws-ec2-metadata-token: tok") && asked[2].contains("x-aws-ec2-metadata-token: tok"))
    }

    @Test func keysAreFetchedAgainBeforeTheyEndAndWhenRefused() throws {
        let later = Self.keys.replacing("ASIA1", with: "ASIA2").replacing("23:00", with: "23:30")
        let server = ScriptedServer([
            Self.answer(Self.keys), Self.answer(later), .answer(ScriptedServer.response("500 Internal Server Error")),
        ])
        defer { server.close() }
        let clock = Clock()
        let role = role(
            .container(url: "http://localhost:\(server.port)/", authorization: nil, authorizationFile: nil), clock)
        let first = try role.current(refused: nil)
        clock.now.withLock { $0 = 1_700_002_499 }
        #expect(try role.current(refused: nil) == first, "301 seconds are left")
        clock.now.withLock { $0 += 1 }
        let second = try role.current(refused: nil)
        #expect(second.accessKeyID == "ASIA2")
        // A service that is away: these are still good. Refused ones are not, and neither are those that have ended.
        clock.now.withLock { $0 = 1_700_004_550 }
        #expect(try role.current(refused: nil) == second)
        #expect(throws: StorageError.self) { try role.current(refused: second) }
        clock.now.withLock { $0 = 1_700_004_600 }
        let error = #expect(throws: StorageError.self) { try role.current(refused: nil) }
        #expect(error?.kind == .transient && error?.httpStatus == 500)
    }

    /// A stop ends whoever asks a service that does not answer, and whoever waits for that one's answer.
    @Test func aStopEndsTheQuestionAndTheWait() throws {
        let server = ScriptedServer([.stall])
        defer { server.close() }
        let role = role(
            .webIdentity(
                tokenFile: "/token", role: "r", session: "s", endpoint: "http://127.0.0.1:\(server.port)"),
            files: ["/token": "t"])
        let flags = [AbortFlag(), AbortFlag()]
        let order = Mutex<[Int]>([])
        let clock = ContinuousClock()
        let start = clock.now
        let outcomes = onThreads(3) { number -> StorageError.Kind? in
            func wait(until isMet: () -> Bool) {
                while !isMet(), clock.now - start < .seconds(20) { usleepBriefly() }
            }
            func isAsked() -> Bool { server.bodies.withLock { !$0.isEmpty } }
            guard number < 2 else {
                wait(until: isAsked)
                flags[1].raise()
                wait { order.withLock { $0 == [1] } }
                flags[0].raise()
                return nil
            }
            // The second comes when the first has asked.
            if number == 1 { wait(until: isAsked) }
            defer { order.withLock { $0.append(number) } }
            do throws(StorageError) {
                _ = try role.current(refused: nil, abort: flags[number])
                return nil
            } catch { return error.kind }
        }
        #expect(outcomes.compactMap(\.self) == [.aborted, .aborted])
        #expect(order.withLock { $0 } == [1, 0])
        #expect(clock.now - start < .seconds(4), "the stall alone is noticed after five seconds")
        #expect(server.requests.withLock { $0.count } == 1)
        let gone = AbortFlag()
        gone.raise()
        #expect(#expect(throws: StorageError.self) { try role.current(refused: nil, abort: gone) }?.kind == .aborted)
        #expect(server.requests.withLock { $0.count } == 1)
    }

    @Test func aRefusalOfTheTokenServiceIsSaid() throws {
        let server = ScriptedServer([
            .answer(
                ScriptedServer.response(
                    "403 Forbidden", "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"))
        ])
        defer { server.close() }
        let source = RoleSource.webIdentity(
            tokenFile: "/token", role: "r", session: "s", endpoint: "http://127.0.0.1:\(server.port)")
        let error = #expect(throws: StorageError.self) {
            try role(source, files: ["/token": "hush"]).current(refused: nil)
        }
        #expect(error?.kind == .denied && error?.message.contains("403 (AccessDenied)") == true)
        #expect(error.map { !"\($0)".contains("hush") } == true)
    }

    @Test(arguments: [
        ("https://any.where/x", true), ("http://127.0.0.1:80/x", true), ("http://localhost/x", true),
        ("http://169.254.170.2/x", true), ("http://169.254.170.23/v1", true), ("http://[fd00:ec2::23]/v1", true),
        ("http://[::1]:8080/", true), ("http://169.254.169.254/x", false), ("http://10.0.0.1/x", false),
        ("http://127.0.0.1.example.org/x", false), ("http://localhost@example.org/", false),
        ("ftp://localhost/", false),
    ])
    func keysComeInTheClearOnlyFromHere(_ url: String, _ isTrusted: Bool) {
        #expect(RoleRequest.isTrusted(url) == isTrusted)
    }

    @Test func timesOfServicesAreRead() {
        #expect(CivilDate.unixSeconds(iso: "2023-11-14T22:13:20Z") == 1_700_000_000)
        #expect(CivilDate.unixSeconds(iso: "2023-11-14T22:13:20.123Z") == 1_700_000_000)
        for wrong in [
            "", "2023-11-14", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z", "xT22:13:20Z", "2023-11-14T22:13Z",
        ] {
            #expect(CivilDate.unixSeconds(iso: wrong) == nil, "\(wrong)")
        }
    }
}

/// A store whose keys are found while it runs.
@Suite struct FoundCredentialsTests {
    private func settings(_ server: ScriptedServer) -> S3Settings {
        S3Settings(bucket: "b", endpoint: "http://127.0.0.1:\(server.port)", pathStyle: true, credentials: nil)
    }

    @Test func theyAreLookedForAtTheFirstRequestAndRenewedBeforeTheyEnd() throws {
        let server = ScriptedServer([.answer(ScriptedServer.response("404 Not Found"))])
        defer { server.close() }
        let asked = Mutex<[S3Credentials?]>([])
        var settings = settings(server)
        settings.findCredentials = { refused, _ in
            asked.withLock { $0.append(refused) }
            return S3Credentials(
                accessKeyID: refused == nil ? "first" : "second", secretAccessKey: "s", sessionToken: "t",
                expiresAt: refused == nil ? 1000 : 9000)
        }
        let clock = Mutex<Int64>(500)
        let store = try ObjectStore(.s3(settings), now: { clock.withLock { $0 } })
        #expect(asked.withLock { $0.isEmpty })
        for time in [500, 699, 700, 800] {
            clock.withLock { $0 = Int64(time) }
            #expect(try store.head("k") == nil)
        }
        let signed = server.requests.withLock { $0.map { $0.contains("Credential=second/") } }
        #expect(signed == [false, false, true, true])
        #expect(asked.withLock { $0.map { $0?.accessKeyID } } == [nil, "first"])
    }

    /// A host that started with a clock of tomorrow, until it was set.
    @Test func aClockThatIsSetBackKeepsNoRefusedCredentials() throws {
        let refused = ScriptedServer.response("403 Forbidden", "<Error><Code>InvalidAccessKeyId</Code></Error>")
        let server = ScriptedServer([.answer(refused)])
        defer { server.close() }
        let asked = Mutex(0)
        var settings = settings(server)
        settings.findCredentials = { _, _ in
            S3Credentials(
                accessKeyID: "k\(asked.withLock { $0 += 1; return $0 })", secretAccessKey: "s", sessionToken: nil,
                expiresAt: nil)
        }
        let clock = Mutex<Int64>(86_400)
        let store = try ObjectStore(.s3(settings), now: { clock.withLock { $0 } })
        #expect(throws: StorageError.self) { try store.head("k") }
        let before = asked.withLock { $0 }
        #expect(throws: StorageError.self) { try store.head("k") }
        #expect(asked.withLock { $0 } == before, "not more often than every five seconds")
        clock.withLock { $0 = 500 }
        #expect(throws: StorageError.self) { try store.head("k") }
        #expect(asked.withLock { $0 } > before)
    }

    @Test func whyThereAreNoneIsTheRequestsError() throws {
        let server = ScriptedServer([.answer(ScriptedServer.response("200 OK"))])
        defer { server.close() }
        var settings = settings(server)
        settings.findCredentials = { (_, _) throws(StorageError) in
            throw StorageError(.transient, "credentials", key: nil, "the service is away")
        }
        let store = try ObjectStore(.s3(settings))
        let error = #expect(throws: StorageError.self) { try store.head("k") }
        #expect(error?.kind == .transient && error?.message == "the service is away")
        settings.findCredentials = nil
        #expect(throws: StorageError.self) { try ObjectStore(.s3(settings)) }
    }

    /// As AWS says it for a bucket with a default retention.
    @Test func aChecksumIsSentToABucketThatWantsOne() throws {
        let refusal =
            "<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is required</Message></Error>"
        let server = ScriptedServer([
            .answer(ScriptedServer.response("400 Bad Request", refusal)), .answer(ScriptedServer.stored),
        ])
        defer { server.close() }
        var settings = settings(server)
        settings.credentials = S3Credentials(accessKeyID: "a", secretAccessKey: "s")
        let store = try ObjectStore(.s3(settings))
        for key in ["one", "two"] { _ = try store.put(key, body: .bytes(Array("hello".utf8))) }
        let asked = server.requests.withLock { $0 }
        try #require(asked.count == 3)
        #expect(!asked[0].contains("x-amz-checksum"))
        let header = "x-amz-checksum-sha256: LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
        #expect(asked[1].contains(header) && asked[2].contains(header) && asked[1].contains("x-amz-checksum-sha256;"))
    }

    @Test func base64HasItsPadding() {
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            #expect(base64(Array(text.utf8)) == encoded)
        }
    }
}
