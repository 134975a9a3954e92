import Testing

@testable import ObjectStorage

@Suite struct PlainGetTests {
    private func get(
        _ server: ScriptedServer, timeout: Duration = .seconds(5)
    ) throws(PlainGetError) -> (status: Int, body: [UInt8]) {
        try PlainGet.get(host: "127.0.0.1", port: server.port, path: "/status", timeout: timeout)
    }

    @Test(arguments: ["200 OK", "404 Not Found", "503 Service Unavailable"])
    func anAnswerIsGivenWhateverItsStatus(status: String) throws {
        let server = ScriptedServer([.answer(ScriptedServer.response(status, "{}"))])
        defer { server.close() }
        let answer = try get(server)
        #expect(answer.status == Int(status.prefix(3)) && answer.body == Array("{}".utf8))
        #expect(server.requests.withLock { $0.first?.hasPrefix("GET /status HTTP/1.1\r\n") } == true)
    }

    /// As HTTP/1.0 has it.
    @Test func anAnswerMayEndWithItsConnection() throws {
        let server = ScriptedServer([.answerEarly("HTTP/1.0 200 OK\r\n\r\nto the end")])
        defer { server.close() }
        #expect(try get(server).body == Array("to the end".utf8))
    }

    @Test func anAnswerOf8MiBIsTakenAndNoLongerOne() throws {
        let body = String(repeating: "x", count: 8 << 20)
        let server = ScriptedServer([
            .answer(ScriptedServer.response("200 OK", body)),
            .answerEarly(ScriptedServer.response("200 OK", body + "x")),
        ])
        defer { server.close() }
        #expect(try get(server).body.count == 8 << 20)
        #expect(throws: PlainGetError.notHTTP("127.0.0.1:\(server.port)")) { try get(server) }
    }

    @Test(arguments: [
        "", "HTTP/1.1 2x0 OK\r\n\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK",
    ])
    func answersThatAreNone(text: String) {
        let server = ScriptedServer([text.isEmpty ? .cut(bodyToo: false) : .answerEarly(text)])
        defer { server.close() }
        let error = #expect(throws: PlainGetError.notHTTP("127.0.0.1:\(server.port)")) { try get(server) }
        #expect(error?.description == "what listens on 127.0.0.1:\(server.port) is not sluice")
    }

    @Test func aDeadlineIsKept() {
        let server = ScriptedServer([.stall])
        defer { server.close() }
        let error = #expect(throws: PlainGetError.timedOut("127.0.0.1:\(server.port)")) {
            try get(server, timeout: .milliseconds(200))
        }
        #expect(error?.description == "no answer from 127.0.0.1:\(server.port) in time")
    }

    /// Port 1 of this machine is nobody's; TCP knows no broadcast.
    @Test(arguments: [
        ("127.0.0.1", "nothing listens on 127.0.0.1:1: is sluice running with this configuration?"),
        ("255.255.255.255", "cannot reach 255.255.255.255:1 (errno 101)"),
    ])
    func nobodyIsThere(host: String, message: String) {
        let error = #expect(throws: PlainGetError.self) {
            try PlainGet.get(host: host, port: 1, path: "/", timeout: .seconds(5))
        }
        #expect(error?.description == message)
    }

    /// A machine may have IPv6 or not.
    @Test func ofIPv6TheAddressStandsInBrackets() {
        let error = #expect(throws: PlainGetError.self) {
            try PlainGet.get(host: "::1", port: 1, path: "/", timeout: .seconds(5))
        }
        #expect(error?.description.contains(" [::1]:1") == true)
    }
}
