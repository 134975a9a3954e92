import Testing

@testable import ObjectStorage

/// What every kind of misbehaviour is taken for.
@Suite struct FailureTests {
    static let large = [UInt8](repeating: 0x20, count: 8 << 20)

    func store(
        _ server: ScriptedServer, abort: AbortFlag = AbortFlag(), request: Duration = .seconds(20),
        stall: Duration = .seconds(30), renewed: S3Credentials? = nil
    ) throws -> ObjectStore {
        var settings = S3Settings(
            bucket: "b", prefix: "p", endpoint: "http://127.0.0.1:\(server.port)", pathStyle: true,
            credentials: S3Credentials(accessKeyID: "a", secretAccessKey: "s"))
        settings.connectTimeout = .seconds(2)
        settings.requestTimeout = request
        settings.stallTimeout = stall
        settings.findCredentials = { refused, _ in refused == nil ? nil : renewed }
        return try ObjectStore(.s3(settings), abort: abort, now: { 1_700_000_000 })
    }

    func putFailure(
        _ script: ScriptedServer.Script, body: [UInt8] = [1, 2, 3], request: Duration = .seconds(20),
        stall: Duration = .seconds(30)
    ) throws -> StorageError? {
        let server = ScriptedServer([script])
        defer { server.close() }
        let store = try store(server, request: request, stall: stall)
        return #expect(throws: StorageError.self) { try store.put("k", body: .bytes(body)) }
    }

    @Test(arguments: [
        ("500 Internal Server Error", "InternalError", StorageError.Kind.transient),
        ("503 Slow Down", "SlowDown", .transient),
        ("502 Bad Gateway", "x", .transient), ("429 Too Many Requests", "x", .transient),
        ("408 Request Timeout", "x", .transient),
        ("409 Conflict", "ConditionalRequestConflict", .transient), ("409 Conflict", "OperationAborted", .transient),
        ("400 Bad Request", "ThrottlingException", .transient), ("400 Bad Request", "KMS.DisabledException", .denied),
        ("400 Bad Request", "KMS.NotFoundException", .fatal), ("409 Conflict", "BucketNotEmpty", .fatal),
        ("400 Bad Request", "RequestTimeout", .transient),
        ("400 Bad Request", "ExpiredToken", .denied), ("400 Bad Request", "InvalidArgument", .fatal),
        ("403 Forbidden", "AccessDenied", .denied), ("403 Forbidden", "SignatureDoesNotMatch", .denied),
        ("403 Forbidden", "InvalidAccessKeyId", .denied), ("403 Forbidden", "RequestTimeTooSkewed", .denied),
        ("404 Not Found", "NoSuchBucket", .fatal), ("404 Not Found", "NoSuchKey", .notFound),
        ("501 Not Implemented", "NotImplemented", .fatal), ("301 Moved", "PermanentRedirect", .fatal),
        ("307 Temporary Redirect", "TemporaryRedirect", .transient), ("405 Not Allowed", "MethodNotAllowed", .fatal),
    ])
    func refusals(_ status: String, _ code: String, _ kind: StorageError.Kind) throws {
        let error = try putFailure(ScriptedServer.refusal(status, code))
        #expect(error?.kind == kind && error?.code == code && error?.message.contains("said \(code)") == true)
        #expect(error?.httpStatus.map { status.hasPrefix("\($0)") } == true && error?.key == "k")
    }

    @Test func answersToAPut() throws {
        let server = ScriptedServer([
            .answer(ScriptedServer.response("412 Precondition Failed")),
            .answer(ScriptedServer.response("200 OK", headers: "ETag: \"abc\"\r\n")),
            .answer(ScriptedServer.response("501 Not Implemented")),
        ])
        defer { server.close() }
        let store = try store(server)
        #expect(try store.put("k", body: .bytes([1])) == .alreadyExists)
        #expect(try store.put("k=1/+", body: .bytes([]), metadata: [("x-y", "z")]) == .created(etag: "abc"))
        #expect(try store.probeConditional() == .refused("the store answered 501"))
        let heads = server.requests.withLock { $0 }
        #expect(heads[1].hasPrefix("PUT /b/p/k%3D1/%2B HTTP/1.1\r\n"))
        let lower = heads[1].lowercased()
        let expected = [
            "if-none-match: *", "x-amz-meta-x-y: z", "x-amz-date: 20231114t221320z", "content-length: 0",
            "content-type: application/json", "host: 127.0.0.1:\(server.port)\r\n",
            "signedheaders=content-type;host;if-none-match;x-amz-content-sha256;x-amz-date;x-amz-meta-x-y,",
        ]
        for line in expected { #expect(lower.contains(line), "\(line)") }
        #expect(!lower.contains("expect:") && !lower.contains("accept:") && !lower.contains("transfer-encoding"))
        for name in ["host", "content-type"] {
            #expect(lower.split(separator: "\r\n").filter { $0.hasPrefix("\(name):") }.count == 1)
        }
    }

    /// What a bucket's policy asks for, on puts alone, and in the signature.
    @Test func encryptionAndACLAreSignedHeadersOfEachPut() throws {
        /// The heads of a put in either way, and of a deletion.
        func heads(_ encryption: ServerSideEncryption?, acl: String?) throws -> [String] {
            let answer = ScriptedServer.response("200 OK", headers: "ETag: \"no-digest\"\r\n")
            let server = ScriptedServer([.answer(answer)])
            defer { server.close() }
            var settings = S3Settings(
                bucket: "b", endpoint: "http://127.0.0.1:\(server.port)", pathStyle: true,
                credentials: S3Credentials(accessKeyID: "a", secretAccessKey: "s"))
            (settings.encryption, settings.acl) = (encryption, acl)
            let store = try ObjectStore(.s3(settings))
            for condition in [PutCondition.ifAbsent, .none] {
                #expect(try store.put("k", body: .bytes([1]), condition: condition) == .created(etag: "no-digest"))
            }
            try store.delete("k")
            return server.requests.withLock { $0.map { $0 + "\r\n" } }
        }
        let all = try heads(.kms(keyID: "alias/lake"), acl: "bucket-owner-full-control")
        try #require(all.count == 3)
        for head in all[..<2] {
            #expect(head.contains("\r\nx-amz-server-side-encryption: aws:kms\r\n"))
            #expect(head.contains("\r\nx-amz-server-side-encryption-aws-kms-key-id: alias/lake\r\n"))
            #expect(head.contains("\r\nx-amz-acl: bucket-owner-full-control\r\n"))
            let signed =
                "x-amz-date;x-amz-server-side-encryption;x-amz-server-side-encryption-aws-kms-key-id,Signature="
            #expect(head.contains(signed) && head.contains(";x-amz-acl;x-amz-content-sha256;"))
        }
        #expect(!all[2].contains("x-amz-server-side") && !all[2].contains("x-amz-acl"))
        let own = try heads(.aes256, acl: nil)[0]
        #expect(own.contains("\r\nx-amz-server-side-encryption: AES256\r\n") && !own.contains("x-amz-acl"))
        let account = try heads(.kms(keyID: nil), acl: nil)[0]
        #expect(account.contains("encryption: aws:kms\r\n") && !account.contains("key-id"))
        #expect(!(try heads(nil, acl: nil)[0].contains("x-amz-server-side")))
        #expect(
            #expect(throws: StorageError.self) { try heads(.kms(keyID: "a\r\nb: c"), acl: nil) }?.kind == .fatal)
    }

    @Test func aPutThatIsDeniedNamesWhatAPolicyMayAskFor() throws {
        let denied = try putFailure(ScriptedServer.refusal("403 Forbidden", "AccessDenied"))
        #expect(denied?.hint?.contains("s3.encryption") == true)
        let acl = try putFailure(ScriptedServer.refusal("400 Bad Request", "AccessControlListNotSupported"))
        #expect(acl?.kind == .fatal && acl?.hint?.contains("leave s3.acl out") == true)
    }

    /// AWS's answer to an expired token.
    @Test func aRefusalOfAHeadHasNoCode() throws {
        let server = ScriptedServer([.answer(ScriptedServer.response("400 Bad Request"))])
        defer { server.close() }
        let store = try store(server)
        #expect(#expect(throws: StorageError.self) { try store.head("k") }?.kind == .denied)
    }

    @Test func credentialsThatWereRefusedAreLookedUpAgain() throws {
        let server = ScriptedServer([
            ScriptedServer.refusal("403 Forbidden", "AccessDenied"), .answer(ScriptedServer.stored),
            ScriptedServer.refusal("403 Forbidden", "AccessDenied"),
        ])
        defer { server.close() }
        let store = try store(server, renewed: S3Credentials(accessKeyID: "new", secretAccessKey: "t"))
        #expect(try store.put("k", body: .bytes([1])) == .created(etag: "abc"))
        // The same again are no others.
        #expect(#expect(throws: StorageError.self) { try store.put("k", body: .bytes([1])) }?.kind == .denied)
        let users = server.requests.withLock { $0.map { $0.contains("Credential=new/") } }
        #expect(users == [false, true, true])
    }

    /// A store that cannot answer at the moment has not shown which reading of `=` is its own.
    @Test func anotherSpellingIsKeptOnlyWhereItIsUnderstood() throws {
        let server = ScriptedServer([
            .answer(ScriptedServer.response("403 Forbidden")), .answer(ScriptedServer.response("503 Slow Down")),
            .answer(ScriptedServer.response("403 Forbidden")), .answer(ScriptedServer.response("404 Not Found")),
            .answer(ScriptedServer.response("404 Not Found")),
        ])
        defer { server.close() }
        let store = try store(server)
        #expect(#expect(throws: StorageError.self) { try store.head("year=1") }?.kind == .transient)
        #expect(try store.head("year=1") == nil && store.head("year=1") == nil)
        let signatures = server.requests.withLock { requests in
            requests.map { $0.lowercased().split(separator: "signature=").last?.prefix(64) ?? "" }
        }
        #expect(signatures.count == 5 && signatures[0] == signatures[2] && signatures[0] != signatures[1])
        #expect(signatures[1] == signatures[3] && signatures[3] == signatures[4])
    }

    @Test func aLargeBodyHasItsTime() {
        let settings = S3Settings(bucket: "b", credentials: S3Credentials(accessKeyID: "a", secretAccessKey: "s"))
        #expect(settings.timeout(forBody: 0) == .seconds(300))
        #expect(settings.timeout(forBody: 128 << 20) == .seconds(300 + 2048))
    }

    @Test func regionsAndWaits() throws {
        let redirect = try putFailure(
            ScriptedServer.refusal("301 Moved", "PermanentRedirect", headers: "x-amz-bucket-region: eu-west-3\r\n"))
        #expect(redirect?.message.contains("eu-west-3") == true && redirect?.hint == "set s3.region")
        let slow = try putFailure(ScriptedServer.refusal("503 Slow Down", "SlowDown", headers: "Retry-After: 11\r\n"))
        #expect(slow?.retryAfter == .seconds(11))
        let page = try putFailure(.answer(ScriptedServer.response("502 Bad Gateway", "<html>\u{1B}[31mno</html>")))
        #expect(page?.kind == .transient && page?.code == nil)
    }

    @Test func cutAfterTheBodyIsIndefinite() throws {
        let error = try putFailure(.cut(bodyToo: true))
        #expect(error?.kind == .indefinite && error?.code == "CURLE_52")
        #expect(try putFailure(.cut(bodyToo: true), body: FailureTests.large)?.kind == .indefinite)
        #expect(try putFailure(.cut(bodyToo: true), body: [])?.kind == .indefinite)
    }

    @Test func cutBeforeTheBodyIsTransient() throws {
        #expect(try putFailure(.cut(bodyToo: false), body: FailureTests.large)?.kind == .transient)
    }

    @Test func stallsEnd() throws {
        let clock = ContinuousClock()
        let start = clock.now
        let after = try putFailure(.stall, request: .milliseconds(400))
        #expect(after?.kind == .indefinite && after?.code == "CURLE_28")
        let before = try putFailure(
            .stallBeforeBody, body: FailureTests.large + FailureTests.large, request: .milliseconds(1500),
            stall: .seconds(2))
        #expect(before?.kind == .transient && before?.code == "CURLE_28")
        #expect(clock.now - start < .seconds(15))
    }

    @Test func noServerIsTransient() throws {
        let server = ScriptedServer([.stall])
        server.close()
        let store = try store(server)
        let error = #expect(throws: StorageError.self) { try store.put("k", body: .bytes([1])) }
        #expect(error?.kind == .transient)
    }

    @Test func readsAreNeverIndefinite() throws {
        for script in [
            ScriptedServer.Script.cut(bodyToo: true), .answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        ] {
            let server = ScriptedServer([script])
            defer { server.close() }
            let store = try store(server, request: .milliseconds(500))
            #expect(#expect(throws: StorageError.self) { try store.bytes("k") }?.kind == .transient)
            #expect(#expect(throws: StorageError.self) { try store.list(prefix: "") }?.kind == .transient)
            #expect(#expect(throws: StorageError.self) { try store.delete("k") }.map { $0.kind == .transient } ?? true)
        }
    }

    @Test func brokenAnswers() throws {
        let server = ScriptedServer([.answer(ScriptedServer.response("200 OK", "<ListBucketResult><Contents>"))])
        defer { server.close() }
        let cut = try #require(throws: StorageError.self) { try store(server).list(prefix: "q/") }
        #expect(cut.kind == .transient && cut.description.contains("is not a listing"))
        let long = "HTTP/1.1 500 x\r\nContent-Length: 99999999\r\n\r\n" + String(repeating: "x", count: 100_000)
        #expect(try putFailure(.answer(long)).map { $0.kind != .fatal } == true)
        let headers =
            "HTTP/1.1 200 OK\r\n" + String(repeating: "X: \(String(repeating: "y", count: 1000))\r\n", count: 90)
        #expect(try putFailure(.answer(headers + "\r\n"))?.kind == .indefinite)
        #expect(try putFailure(.answer("nonsense\r\n\r\n"))?.kind == .indefinite)
    }

    /// The server says no before it has read the body: that is what counts, not the broken pipe.
    @Test func anEarlyRefusalIsSeen() throws {
        let early = ScriptedServer.response("412 Precondition Failed", headers: "Connection: close\r\n")
        let server = ScriptedServer([.answerEarly(early)])
        defer { server.close() }
        let body = ObjectBody.bytes(FailureTests.large)
        do {
            #expect(try store(server).put("k", body: body) == .alreadyExists)
        } catch let error as StorageError {
            // The reset may overtake the answer; never is it taken for stored.
            #expect(error.kind == .transient)
        }
    }

    /// A kept connection that the server has closed meanwhile costs a new one, and the body is sent again from its start.
    @Test func aDeadKeptConnectionIsReplaced() throws {
        let server = ScriptedServer([
            .answer(ScriptedServer.stored), .cut(bodyToo: true), .answer(ScriptedServer.stored),
        ])
        defer { server.close() }
        let store = try store(server)
        var spool = try SpoolFile(in: "/tmp")
        try spool.append([1, 2, 3].span)
        #expect(try store.put("a", body: spool.body) != .alreadyExists)
        #expect(try store.put("b", body: spool.body) != .alreadyExists)
        let heads = server.requests.withLock { $0 }
        #expect(heads.count == 3 && heads.allSatisfy { !$0.lowercased().contains("expect:") })
    }

    @Test func abortEndsAStalledPut() throws {
        let server = ScriptedServer([.stall])
        defer { server.close() }
        let abort = AbortFlag()
        let port = server
        let kinds = onThreads(2) { number -> StorageError.Kind? in
            if number == 0 {
                // Raised while the other waits for its answer.
                while port.requests.withLock({ $0.isEmpty }) { usleepBriefly() }
                abort.raise()
                return nil
            }
            do {
                _ = try store(port, abort: abort, request: .seconds(30)).put("k", body: .bytes([1]))
                return nil
            } catch let error as StorageError { return error.kind } catch { return nil }
        }
        #expect(kinds.contains(.aborted))
        let error = #expect(throws: StorageError.self) { try store(server, abort: abort).put("k", body: .bytes([1])) }
        #expect(error?.kind == .aborted)
    }

    @Test func bodiesThatCannotBeRead() throws {
        let server = ScriptedServer([.answer(ScriptedServer.stored)])
        defer { server.close() }
        let store = try store(server)
        var spool = try SpoolFile(in: "/tmp")
        try spool.append([1, 2, 3].span)
        guard case .file(let descriptor, _) = spool.body else { return }
        let hash = try SHA256Digest.of([])
        let short = ObjectBody.file(descriptor: descriptor, length: 9)
        for sha256 in [nil, hash] {
            #expect(
                #expect(throws: StorageError.self) { try store.put("k", body: short, sha256: sha256) }?.kind == .fatal)
        }
        let closed = ObjectBody.file(descriptor: -1, length: 9)
        #expect(#expect(throws: StorageError.self) { try store.put("k", body: closed, sha256: hash) }?.kind == .fatal)
    }
}
