import Glibc
import Synchronization

/// A server that misbehaves as it is told: for each request, in turn, one script; the last one again and again.
final class ScriptedServer: Sendable {
    enum Script: Sendable {
        /// Reads head and body, then answers so.
        case answer(String)
        /// Answers before it has read the body, and closes.
        case answerEarly(String)
        /// Closes after the head (`bodyToo`: after the body) without a word.
        case cut(bodyToo: Bool)
        /// Reads all, then nothing more happens.
        case stall
        /// Reads nothing of the body.
        case stallBeforeBody
    }

    let port: UInt16
    private let listener: Int32
    private let scripts: [Script]
    private let isClosed = Atomic<Bool>(false)
    /// The heads.
    let requests = Mutex<[String]>([])
    /// What came behind each head of which the body was read, up to 64 KiB.
    let bodies = Mutex<[String]>([])

    init(_ scripts: [Script]) {
        self.scripts = scripts
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        port = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                guard bind(descriptor, $0, length) == 0, listen(descriptor, 16) == 0 else { return }
                getsockname(descriptor, $0, &length)
            }
            return UInt16(bigEndian: $0.pointee.sin_port)
        }
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { context in
                if let context { Unmanaged<ScriptedServer>.fromOpaque(context).takeRetainedValue().serve() }
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        pthread_detach(thread)
    }

    func close() {
        isClosed.store(true, ordering: .sequentiallyConsistent)
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private func serve() {
        var held: [Int32] = []
        var number = 0
        while true {
            let client = accept(listener, nil, nil)
            if client < 0 || isClosed.load(ordering: .sequentiallyConsistent) { break }
            // One connection carries several requests, if answers let it.
            while let (head, rest) = readHead(client) {
                requests.withLock { $0.append(head) }
                let script = scripts[min(number, scripts.count - 1)]
                number += 1
                if !play(script, client, head, rest) { break }
            }
            if case .stall = scripts[min(max(number - 1, 0), scripts.count - 1)] {
                held.append(client)
            } else if case .stallBeforeBody = scripts[min(max(number - 1, 0), scripts.count - 1)] {
                held.append(client)
            } else {
                Glibc.close(client)
            }
        }
        for client in held { Glibc.close(client) }
        Glibc.close(listener)
    }

    /// False ends the connection.
    private func play(_ script: Script, _ client: Int32, _ head: String, _ read: [UInt8]) -> Bool {
        switch script {
        case .answer(let text):
            readBody(client, head, read)
            send(client, text)
            return true
        case .answerEarly(let text):
            send(client, text)
            return false
        case .cut(let bodyToo):
            if bodyToo { readBody(client, head, read) }
            return false
        case .stall:
            readBody(client, head, read)
            return false
        case .stallBeforeBody:
            return false
        }
    }

    /// The head, and the bytes of the body that came with it.
    private func readHead(_ client: Int32) -> (String, [UInt8])? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(client, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            bytes += buffer[..<count]
            let text = String(decoding: bytes, as: UTF8.self)
            if let end = text.firstRange(of: "\r\n\r\n") {
                let head = String(text[..<end.lowerBound])
                return (head, Array(bytes[(head.utf8.count + 4)...]))
            }
        }
    }

    private func readBody(_ client: Int32, _ head: String, _ read: [UInt8]) {
        let line = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
        let length = line.flatMap { Int($0.dropFirst(15).drop { $0 == " " }) } ?? 0
        if head.lowercased().contains("expect: 100-continue") { send(client, "HTTP/1.1 100 Continue\r\n\r\n") }
        var body = read
        defer { bodies.withLock { $0.append(String(decoding: body, as: UTF8.self)) } }
        var left = length - read.count
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while left > 0 {
            let count = recv(client, &buffer, min(left, buffer.count), 0)
            guard count > 0 else { return }
            if body.count < 64 * 1024 { body += buffer[..<count] }
            left -= count
        }
    }

    private func send(_ client: Int32, _ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    static func response(_ status: String, _ body: String = "", headers: String = "") -> String {
        "HTTP/1.1 \(status)\r\n\(headers)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    /// The answer to a put.
    static let stored = response("200 OK", headers: "ETag: \"abc\"\r\n")

    static func refusal(_ status: String, _ code: String, headers: String = "") -> Script {
        .answer(
            response(status, "<Error><Code>\(code)</Code><Message>said \(code)</Message></Error>", headers: headers))
    }
}
