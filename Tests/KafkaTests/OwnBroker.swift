import Glibc
import Testing

@testable import Kafka

/// An Apache Kafka broker of the test's own, which may be killed and started again.
final class OwnBroker {
    let brokers: String
    private let directory: String
    private let home: String
    private var process: pid_t = 0

    init(home: String) throws {
        self.home = home
        var template = Array("/tmp/sluice-kafka-XXXXXX".utf8CString)
        directory = String(cString: try #require(mkdtemp(&template)))
        let (port, controller) = (try Self.freePort(), try Self.freePort())
        brokers = "127.0.0.1:\(port)"
        let script = """
            sed "s#/tmp/kraft-combined-logs#$D/data#; s/:9092/:$P/g; s/:9093/:$C/g" "$K/config/server.properties" > "$D/p" &&
            "$K/bin/kafka-storage.sh" format -t "$("$K/bin/kafka-storage.sh" random-uuid)" -c "$D/p" --standalone >"$D/log" 2>&1
            """
        setenv("D", directory, 1)
        setenv("P", "\(port)", 1)
        setenv("C", "\(controller)", 1)
        setenv("K", home, 1)
        var status: Int32 = 0
        waitpid(try Self.spawn("/bin/sh", ["-c", script]), &status, 0)
        try #require(status == 0)
        try start()
    }

    deinit {
        kill()
        var status: Int32 = 0
        if let remover = try? Self.spawn("/bin/rm", ["-rf", directory]) { waitpid(remover, &status, 0) }
    }

    /// Starts the broker; it answers some seconds later.
    func start() throws {
        setenv("LOG_DIR", directory, 1)
        let command = "exec \"$0/bin/kafka-server-start.sh\" \"$1/p\" >>\"$1/log\" 2>&1"
        process = try Self.spawn("/bin/sh", ["-c", command, home, directory])
    }

    /// SIGKILL, and waits for the end.
    func kill() {
        guard process > 0 else { return }
        Glibc.kill(process, SIGKILL)
        var status: Int32 = 0
        waitpid(process, &status, 0)
        process = 0
    }

    private static func spawn(_ path: String, _ arguments: [String]) throws -> pid_t {
        var pid: pid_t = 0
        var list: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) }
        defer { for item in list { free(item) } }
        list.append(nil)
        try #require(posix_spawn(&pid, path, nil, nil, list, environ) == 0)
        return pid
    }

    private static func freePort() throws -> UInt16 {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, size) == 0 && getsockname(socket, $0, &size) == 0
            }
        }
        try #require(bound)
        return UInt16(bigEndian: address.sin_port)
    }
}
