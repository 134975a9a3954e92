import Glibc

/// Why a GET gave no answer.
public enum HTTPClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Nobody listens there.
    case refused(String)
    /// No whole answer within the time.
    case timedOut(String)
    /// Something answers, but not in HTTP, or more than 8 MiB.
    case notHTTP(String)
    /// The host is no numeric address.
    case notAnAddress(String)
    /// Anything else, with the errno of the operating system.
    case failed(String, code: Int32)

    /// What happened and what to do.
    public var description: String {
        switch self {
        case .refused(let address): "nothing listens on \(address): is sluice running with this configuration?"
        case .timedOut(let address): "no answer from \(address) in time"
        case .notHTTP(let address): "what listens on \(address) is not sluice"
        case .notAnAddress(let host): "\(host) is not a numeric address"
        case .failed(let address, let code): "cannot reach \(address) (errno \(code))"
        }
    }
}

/// One GET of a numeric address over HTTP/1.0: what `sluice status` needs, and no more.
public enum HTTPClient {
    private static let maximumBytes = 8 << 20

    /// The status and the body of the answer, within `timeout` in all.
    public static func get(
        host: String, port: UInt16, path: String, timeout: Duration
    ) throws(HTTPClientError) -> (status: Int, body: [UInt8]) {
        let address = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        guard let socketAddress = SocketAddress(host: host, port: port) else { throw .notAnAddress(host) }
        let connection = try Connection(to: socketAddress, address, deadline: ContinuousClock.now + timeout)
        try connection.send(Array("GET \(path) HTTP/1.0\r\nHost: \(address)\r\nConnection: close\r\n\r\n".utf8))
        let answer = try connection.receiveAll(atMost: maximumBytes)
        guard let parsed = parse(answer) else { throw .notHTTP(address) }
        return parsed
    }

    /// `HTTP/1.x NNN ...`, headers, an empty line, the body up to the end or as long as it is said to be; nil where it is cut short.
    static func parse(_ bytes: [UInt8]) -> (status: Int, body: [UInt8])? {
        let mark = Array("\r\n\r\n".utf8)
        guard bytes.starts(with: "HTTP/1.".utf8), bytes.count >= 12,
            let status = Int(String(decoding: bytes[9..<12], as: UTF8.self)),
            bytes[8] == UInt8(ascii: " "),
            let end = (0...(bytes.count - 4)).first(where: { bytes[$0..<$0 + 4].elementsEqual(mark) })
        else { return nil }
        var body = Array(bytes[(end + 4)...])
        for line in String(decoding: bytes[..<end], as: UTF8.self).split(whereSeparator: \.isNewline).dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "content-length" else { continue }
            guard let length = Int(parts[1].filter { $0 != " " }), length >= 0, body.count >= length else { return nil }
            body = Array(body[..<length])
        }
        return (status, body)
    }

    /// One socket, closed once.
    private struct Connection: ~Copyable {
        private let descriptor: Int32
        private let address: String
        private let deadline: ContinuousClock.Instant

        init(to target: SocketAddress, _ address: String, deadline: ContinuousClock.Instant) throws(HTTPClientError) {
            self.address = address
            self.deadline = deadline
            let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            descriptor = socket(target.family, kind, 0)
            guard descriptor >= 0 else { throw .failed(address, code: errno) }
            if target.withPointer({ connect(descriptor, $0, target.length) }) != 0 {
                let code = errno
                guard code == EINPROGRESS else { throw Self.error(code, address) }
                try wait(for: Int16(POLLOUT))
                var result: Int32 = 0
                var size = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &result, &size)
                guard result == 0 else { throw Self.error(result, address) }
            }
        }

        deinit {
            if descriptor >= 0 { close(descriptor) }
        }

        private static func error(_ code: Int32, _ address: String) -> HTTPClientError {
            code == ECONNREFUSED ? .refused(address) : .failed(address, code: code)
        }

        private func wait(for events: Int16) throws(HTTPClientError) {
            while true {
                let (seconds, attoseconds) = (deadline - .now).components
                let left = seconds * 1000 + attoseconds / 1_000_000_000_000_000
                guard left > 0 else { throw .timedOut(address) }
                var entry = pollfd(fd: descriptor, events: events, revents: 0)
                let ready = poll(&entry, 1, Int32(clamping: left))
                if ready > 0 { return }
                if ready < 0, errno != EINTR { throw .failed(address, code: errno) }
            }
        }

        func send(_ bytes: [UInt8]) throws(HTTPClientError) {
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if errno == EAGAIN {
                    try wait(for: Int16(POLLOUT))
                } else if errno != EINTR {
                    throw Self.error(errno, address)
                }
            }
        }

        /// All until the other side closes.
        func receiveAll(atMost limit: Int) throws(HTTPClientError) -> [UInt8] {
            var bytes: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 16_384)
            while true {
                let count = chunk.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
                if count > 0 {
                    bytes += chunk[..<count]
                    guard bytes.count <= limit else { throw .notHTTP(address) }
                } else if count == 0 {
                    return bytes
                } else if errno == EAGAIN {
                    try wait(for: Int16(POLLIN))
                } else if errno != EINTR {
                    throw Self.error(errno, address)
                }
            }
        }
    }
}
