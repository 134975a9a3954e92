import Glibc
import Testing

@testable import Telemetry

@Suite struct HTTPTests {
    private func server(
        idleTimeout: UInt32 = 10, _ routes: [String: HTTPRoute] = ["/healthz": { HTTPResponse(text: "ok\n") }]
    ) throws -> HTTPServer {
        try HTTPServer(host: "127.0.0.1", port: 0, idleTimeout: idleTimeout, routes: routes)
    }

    private func get(_ path: String, _ server: HTTPServer) throws -> (status: Int, body: String) {
        try #require(TestClient.get(path, port: server.port))
    }

    private func raw(_ text: String, _ server: HTTPServer, seconds: Int = 5) throws -> String {
        try #require(TestClient.exchange(text, port: server.port, seconds: seconds))
    }

    @Test func routes() throws {
        let registry = MetricsRegistry()
        registry.counter("sluice_x_total", "X.").add(3)
        let big = String(repeating: "x", count: 3 << 20)
        let server = try server([
            "/": { .page }, "/metrics": { .metrics(registry) }, "/status": { .status(full) },
            "/readyz": { HTTPResponse(status: 503, text: "standby\n") }, "/big": { HTTPResponse(text: big) },
        ])
        #expect(try get("/metrics", server).body.contains("sluice_x_total 3\n"))
        #expect(StatusDocument(json: Array(try get("/status", server).body.utf8)) == full)
        #expect(try get("/readyz", server) == (503, "standby\n"))
        #expect(try get("/nothing", server).status == 404 && (try get("/metrics?x=1", server).status) == 200)
        #expect(try get("/big", server).body.utf8.count == 3 << 20)
        let page = try raw("GET / HTTP/1.0\r\n\r\n", server)
        #expect(page.contains("Content-Security-Policy: default-src 'none'") && page.contains("<!doctype html>"))
        #expect(!page.contains("http://") && !page.contains("https://"))
        server.stop()
        server.stop()
        #expect(TestClient.connect(host: "127.0.0.1", port: server.port) == nil)
    }

    @Test func methods() throws {
        let server = try server()
        let head = try raw("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", server)
        #expect(head.hasPrefix("HTTP/1.1 200") && head.contains("Content-Length: 3") && head.hasSuffix("\r\n\r\n"))
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let answer = try raw(
                "\(method) /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", server)
            #expect(answer.contains(" 405 ") && answer.contains("Allow: GET, HEAD"), "\(method): \(answer)")
        }
        #expect(
            !(try raw("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", server)).contains("<open>"))
        #expect(!(try raw("\u{1}\u{2}garbage\r\n\r\n", server)).contains("200 OK"))
        #expect(
            try raw("GET /\(String(repeating: "a", count: 100_000)) HTTP/1.1\r\n\r\n", server).contains("200 OK")
                == false)
        #expect(try get("/healthz", server) == (200, "ok\n"))
    }

    @Test func aPortInUseIsSaidSo() throws {
        let server = try server()
        #expect(throws: HTTPServerError.addressInUse("127.0.0.1:\(server.port)")) {
            try HTTPServer(host: "127.0.0.1", port: server.port, routes: [:])
        }
        #expect(throws: HTTPServerError.addressNotAvailable("192.0.2.1:0")) {
            try HTTPServer(host: "192.0.2.1", port: 0, routes: [:])
        }
        #expect(throws: HTTPServerError.notAnAddress("localhost")) {
            try HTTPServer(host: "localhost", port: 0, routes: [:])
        }
    }

    @Test func slowClientsHinderNobody() throws {
        let server = try server(idleTimeout: 1)
        let clock = ContinuousClock()
        let start = clock.now
        // Ten that never finish their request.
        let descriptors = try (0..<10).map { _ in
            let descriptor = try #require(TestClient.connect(host: "127.0.0.1", port: server.port))
            _ = "GET /hea".withCString { Glibc.send(descriptor, $0, 8, Int32(MSG_NOSIGNAL)) }
            return descriptor
        }
        defer { for descriptor in descriptors { close(descriptor) } }
        #expect(try get("/healthz", server).status == 200)
        // They are sent away once they have been silent for long enough.
        #expect(!(try raw("GET /healthz HTTP/1.1\r\n", server, seconds: 8)).contains("<open>"))
        #expect(clock.now - start < .seconds(9))
    }

    @Test func scrapesWhileStopping() async throws {
        for _ in 0..<5 {
            let server = try server(["/metrics": { HTTPResponse(text: String(repeating: "m", count: 200_000)) }])
            let answered = Counter()
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        while let answer = TestClient.get("/metrics", port: server.port) {
                            #expect(answer.status == 200 && answer.body.utf8.count == 200_000)
                            answered.add()
                            // These block the pool's few threads: let the one that stops have its turn.
                            await Task.yield()
                        }
                    }
                }
                group.addTask {
                    while answered.value < 20 { await Task.yield() }
                    server.stop()
                }
            }
            #expect(answered.value >= 20)
        }
    }

    @Test func ipv6() throws {
        let routes: [String: HTTPRoute] = ["/": { HTTPResponse(text: "6") }]
        guard TestClient.canListen(host: "::1") else {
            // A machine without the protocol, or without an address of it: that is said.
            #expect(throws: HTTPServerError.self) { try HTTPServer(host: "::1", port: 0, routes: routes) }
            return
        }
        let server = try HTTPServer(host: "::1", port: 0, routes: routes)
        #expect(TestClient.get("/", host: "::1", port: server.port)?.body == "6")
        #expect(throws: HTTPServerError.addressInUse("[::1]:\(server.port)")) {
            try HTTPServer(host: "::1", port: server.port, routes: routes)
        }
    }

    /// Serves the full document for a look with a browser: SLUICE_TEST_SERVE_SECONDS=60.
    @Test(.enabled(if: getenv("SLUICE_TEST_SERVE_SECONDS") != nil, "only for a look at the page")) func serve() throws {
        let server = try HTTPServer(
            host: "127.0.0.1", port: 0, routes: ["/": { .page }, "/status": { .status(full) }])
        print("http://127.0.0.1:\(server.port)/")
        sleep(getenv("SLUICE_TEST_SERVE_SECONDS").flatMap { UInt32(String(cString: $0)) } ?? 1)
    }
}
