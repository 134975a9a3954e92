import ChangeData
import Glibc
import Synchronization
import Testing

@testable import Postgres

/// Answers one client on a unix socket as a walsender would, with what a test gives it, and then closes without having read
/// all: the client's socket is reset.
final class ScriptedServer: Sendable {
    private let directory = "/tmp/sluice-script-\(UInt32.random(in: 0 ... .max))"
    private let version: String
    private let isDeaf: Bool
    private let refusal: String?
    private let listener: Int32
    /// Whether it has closed.
    private let ended = Atomic<Bool>(false)

    /// - Parameters:
    ///   - version: as `server_version` says it.
    ///   - payloads: sizes of the messages of the stream, each one row's.
    ///   - isDeaf: whether it reads nothing of the stream, and stays until the client has closed.
    ///   - refusal: a SQLSTATE that it answers a connection with.
    init(
        version: String = "15.4", payloads: [Int] = [], isDeaf: Bool = false, refusal: String? = nil
    ) throws {
        self.version = version
        self.isDeaf = isDeaf
        self.refusal = refusal
        try #require(mkdir(directory, 0o755) == 0)
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = "\(directory)/.s.PGSQL.5432"
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let isBound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        try #require(isBound && listen(listener, 4) == 0)
        Self.thread { [self] in
            let client = accept(listener, nil, nil)
            guard client >= 0 else { return }
            serve(client, payloads)
            close(client)
            close(listener)
            unlink("\(directory)/.s.PGSQL.5432")
            rmdir(directory)
            ended.store(true, ordering: .releasing)
        }
    }

    /// The host of its `url`.
    var host: String { directory }

    var url: String { "host=\(directory) port=5432 user=postgres dbname=postgres" }

    /// Waits until it has closed.
    func waitForEnd() {
        for _ in 0..<1000 where !ended.load(ordering: .acquiring) { usleep(10_000) }
    }

    private func serve(_ client: Int32, _ payloads: [Int]) {
        guard let size = read(client, 4), read(client, Int(size.number) - 4) != nil else { return }
        if let refusal {
            return send(client, "E", "SFATAL\0VFATAL\0C\(refusal)\0Mrefused\0\0".utf8)
        }
        send(client, "R", [0, 0, 0, 0])
        send(client, "S", "server_version\0\(version)\0".utf8)
        send(client, "S", "client_encoding\0UTF8\0".utf8)
        send(client, "Z", "I".utf8)
        while let kind = read(client, 1), let size = read(client, 4), let text = read(client, Int(size.number) - 4) {
            guard kind == Array("Q".utf8) else { return }
            guard String(decoding: text, as: UTF8.self).hasPrefix("START_REPLICATION") else {
                answer(client, ["backend": "4711", "backend_start": "1"])
                continue
            }
            send(client, "W", [0, 0, 0])
            // What the client says from here on is not read. Its end is told without being asked for.
            var entry = pollfd(fd: client, events: isDeaf ? 0 : Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 10_000) == 1 else { return }
            for payload in payloads {
                let header = Array("w".utf8) + [UInt8](repeating: 0, count: 24)
                send(client, "d", header + [UInt8](repeating: UInt8(ascii: "I"), count: payload))
            }
            return
        }
    }

    private func answer(_ client: Int32, _ columns: KeyValuePairs<String, String>) {
        var (description, row) = (Self.bytes(Int16(columns.count)), Self.bytes(Int16(columns.count)))
        for (name, value) in columns {
            description += Array(name.utf8) + [0] + Self.bytes(Int32(0)) + Self.bytes(Int16(0)) + Self.bytes(Int32(25))
            description += Self.bytes(Int16(-1)) + Self.bytes(Int32(-1)) + Self.bytes(Int16(0))
            row += Self.bytes(Int32(value.utf8.count)) + Array(value.utf8)
        }
        send(client, "T", description)
        send(client, "D", row)
        send(client, "C", "SELECT 1\0".utf8)
        send(client, "Z", "I".utf8)
    }

    private func send(_ client: Int32, _ kind: String, _ body: some Sequence<UInt8>) {
        let body = Array(body)
        let message = Array(kind.utf8) + Self.bytes(Int32(body.count + 4)) + body
        var sent = 0
        while sent < message.count {
            let part = message.withUnsafeBytes { bytes in
                bytes.baseAddress.map { Glibc.send(client, $0 + sent, message.count - sent, Int32(MSG_NOSIGNAL)) } ?? -1
            }
            guard part > 0 else { return }
            sent += part
        }
    }

    /// Nil where the client has closed.
    private func read(_ client: Int32, _ count: Int) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: count)
        var taken = 0
        while taken < count {
            let part = buffer.withUnsafeMutableBytes { bytes in
                bytes.baseAddress.map { Glibc.read(client, $0 + taken, count - taken) } ?? 0
            }
            guard part > 0 else { return nil }
            taken += part
        }
        return buffer
    }

    private static func bytes(_ number: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    private static func thread(_ body: @escaping @Sendable () -> Void) {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var handle = pthread_t()
        pthread_create(
            &handle, nil,
            { argument in
                if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, Unmanaged.passRetained(Box(body)).toOpaque())
        pthread_detach(handle)
    }
}

extension [UInt8] {
    /// The four bytes as a number.
    fileprivate var number: UInt32 { reduce(0) { $0 << 8 | UInt32($1) } }
}

@Suite struct OldServerTests {
    /// Its catalog lacks columns that are asked for, which would look like an object that is gone.
    @Test func aServerThatIsTooOldIsSaidToBe() throws {
        let old = try ScriptedServer(version: "13.14")
        let error = failure { () throws(PostgresError) in
            _ = try PostgresConnection(connecting: ConnectionSettings(url: old.url))
        }
        #expect(error?.kind == .tooOld && error?.message == "PostgreSQL 13 is too old: 14 is the oldest")
        let oldest = try ScriptedServer(version: "14.0")
        #expect(try PostgresConnection(connecting: ConnectionSettings(url: oldest.url)).serverVersion == 140_000)
    }
}

@Suite struct HostListTests {
    private func connect(_ first: String, _ second: String, _ more: String = "") throws -> PostgresError? {
        let settings = try ConnectionSettings(url: "host=\(first),\(second) port=5432 user=postgres dbname=d \(more)")
        return failure { () throws(PostgresError) in
            _ = try PostgresConnection(connecting: settings, timeout: .seconds(5))
        }
    }

    /// It may be a standby, which has neither the slot nor the tables as they are.
    @Test(arguments: ["53300", "28P01"]) func aServerThatRefusesIsNotPassedOver(state: String) throws {
        let second = try ScriptedServer()
        #expect(try connect(ScriptedServer(refusal: state).host, second.host)?.sqlState == state)
        #expect(try connect("/nowhere", second.host) == nil, "it was there")
    }

    @Test func oneThatIsNotUpOrIsNotTheOneThatIsWantedIs() throws {
        #expect(try connect(ScriptedServer(refusal: "57P03").host, ScriptedServer().host) == nil)
        // The next says itself whether it is one.
        let other = try connect(
            ScriptedServer(refusal: "53300").host, ScriptedServer(refusal: "57P03").host, "target_session_attrs=primary"
        )
        #expect(other?.kind == .shuttingDown)
    }
}

@Suite struct FullSocketTests {
    /// libpq looks for input each time that it cannot send: that is no input.
    @Test func aServerThatDoesNotReadIsWaitedFor() throws {
        let server = try ScriptedServer(isDeaf: true)
        var connection = try ReplicationConnection(connecting: ConnectionSettings(url: server.url))
        try connection.startReplication(slot: "s", at: LSN(0), publications: ["p"])
        for _ in 0..<20_000 { try connection.sendStatus(written: LSN(0), flushed: LSN(0), applied: LSN(0), now: 0) }
        #expect(connection.stream.hasOutput)
        var waits = 0
        let deadline = Deadline(after: .milliseconds(500))
        while !deadline.hasPassed {
            waits += 1
            if try connection.wait(timeoutMilliseconds: 100) == .input, case .frame = try connection.receive() {
                return
            }
        }
        #expect(waits < 20)
    }
}

@Suite struct LostConnectionTests {
    /// libpq reads again at once after a large message, and may find there that the connection is gone: with complete messages before it.
    @Test(arguments: [5, 10, 40], [true, false])
    func whatCameBeforeAResetComesAndThenTheErrorAtOnce(small: Int, waiting: Bool) throws {
        let server = try ScriptedServer(payloads: [40 << 10] + [Int](repeating: 1 << 10, count: small))
        var connection = try ReplicationConnection(connecting: ConnectionSettings(url: server.url))
        try connection.startReplication(slot: "s", at: LSN(0), publications: ["p"])
        try connection.sendStatus(written: LSN(0), flushed: LSN(0), applied: LSN(0), now: 0)
        server.waitForEnd()
        var frames = 0
        let started = Deadline.now()
        let error = failure { () throws(PostgresError) in
            while Deadline.now() - started < 3_000_000_000 {
                // Who has no room for a second message waits between two of them.
                if waiting, try connection.wait(timeoutMilliseconds: 5000) != .input { continue }
                switch try connection.receive() {
                case .frame: frames += 1
                case .nothing: _ = try connection.wait(timeoutMilliseconds: 5000)
                case .ended: return
                }
            }
        }
        #expect(error?.kind == .transient && frames == small + 1)
        #expect(Deadline.now() - started < 1_000_000_000)
    }
}
