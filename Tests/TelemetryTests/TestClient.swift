import Glibc

@testable import Telemetry

/// Speaks to a server byte by byte, so that it can also be impolite.
enum TestClient {
    /// A socket that is the caller's to close; nil where nobody listens.
    static func connect(host: String, port: UInt16) -> Int32? {
        guard let address = SocketAddress(host: host, port: port) else { return nil }
        return address.withPointer { pointer in
            let descriptor = socket(Int32(pointer.pointee.sa_family), Int32(SOCK_STREAM.rawValue), 0)
            if Glibc.connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_storage>.size)) == 0 {
                return descriptor
            }
            close(descriptor)
            return nil
        }
    }

    /// Whether this machine has the address.
    static func canListen(host: String) -> Bool {
        guard let address = SocketAddress(host: host, port: 0) else { return false }
        return address.withPointer { pointer in
            let descriptor = socket(Int32(pointer.pointee.sa_family), Int32(SOCK_STREAM.rawValue), 0)
            defer { close(descriptor) }
            return bind(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_storage>.size)) == 0
        }
    }

    /// Sends bytes as they are, and reads until the other side closes or `seconds` are over, which is shown as `<open>`; nil where
    /// nobody listens, or nobody takes them.
    static func exchange(_ text: String, host: String = "127.0.0.1", port: UInt16, seconds: Int = 5) -> String? {
        guard let descriptor = connect(host: host, port: port) else { return nil }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let bytes = Array(text.utf8)
        guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { return nil }
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count <= 0 { return String(decoding: answer, as: UTF8.self) + (count < 0 ? "<open>" : "") }
            answer += chunk[..<count]
        }
    }

    /// The status and the body of a GET; nil where nobody answers, or not with all that is announced.
    static func get(_ path: String, host: String = "127.0.0.1", port: UInt16) -> (status: Int, body: String)? {
        guard let answer = exchange("GET \(path) HTTP/1.0\r\nHost: x\r\n\r\n", host: host, port: port),
            let end = answer.firstRange(of: "\r\n\r\n"), let status = Int(answer.dropFirst("HTTP/1.1 ".count).prefix(3))
        else { return nil }
        let lengths = answer[..<end.lowerBound].split(whereSeparator: \.isNewline).compactMap { line in
            line.lowercased().hasPrefix("content-length: ") ? Int(line.dropFirst("content-length: ".count)) : nil
        }
        let body = String(answer[end.upperBound...])
        return lengths == [body.utf8.count] ? (status, body) : nil
    }
}
