import CCurl
import Glibc

/// A request to one server; libcurl carries it and adds nothing that is signed.
struct HTTPRequest {
    enum Method: String {
        case get = "GET", head = "HEAD", put = "PUT", post = "POST", delete = "DELETE"

        /// Whether a body goes with it, if only an empty one.
        var hasBody: Bool { self == .put || self == .post }
    }

    var method: Method
    /// Encoded, with its query.
    var url: String
    var headers: [HeaderField]
    /// Of a PUT or a POST.
    var body: ObjectBody = .bytes([])
    /// More bytes of an answer than this are refused, unless they go to a sink.
    var answerLimit = 64 * 1024
    /// For all of it.
    var timeout: Duration
}

/// An answer, whatever its status.
struct HTTPResponse {
    var status: Int
    /// Names in lower case.
    var headers: [HeaderField]
    var body: [UInt8]

    subscript(name: String) -> String? { headers.first { $0.name == name }?.value }
}

/// Receives an answer's content as it comes; false ends the transfer early.
typealias ContentSink = (Span<UInt8>) -> Bool

/// What libcurl's callbacks read and write while one request runs: body out, headers and content in.
/// libcurl calls them on the thread that performs the request, and never after it.
final class HTTPTransfer {
    private static let maxHeaderBytes = 64 * 1024

    private let request: HTTPRequest
    private let abort: AbortFlag
    private let sink: ContentSink?

    private var offset = 0
    private var headerBytes = 0
    private(set) var response = HTTPResponse(status: 0, headers: [], body: [])
    /// Every byte of the body was handed to libcurl: from here on the store may have all of it.
    private(set) var handedOverAll = false
    /// Why a callback ended the transfer.
    private(set) var stop: Stop?

    enum Stop: Equatable {
        case aborted
        case bodyUnreadable(errno: Int32)
        case bodyTooShort
        case answerTooLong
        case sinkIsDone
    }

    init(_ request: HTTPRequest, abort: AbortFlag, sink: ContentSink?) {
        self.request = request
        self.abort = abort
        self.sink = sink
        handedOverAll = request.body.length == 0
    }

    /// Fills libcurl's buffer with the next bytes of the body.
    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let wanted = min(buffer.count, request.body.length - offset)
        guard wanted > 0, let base = buffer.baseAddress else { return 0 }
        var count = wanted
        switch request.body {
        case .bytes(let bytes):
            bytes.withUnsafeBytes {
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<(offset + wanted)]))
            }
        case .file(let descriptor, _):
            repeat { count = pread(descriptor, base, wanted, off_t(offset)) } while count < 0 && errno == EINTR
            if count <= 0 {
                stop = count < 0 ? .bodyUnreadable(errno: errno) : .bodyTooShort
                return Int(CURL_READFUNC_ABORT)
            }
        }
        offset += count
        if offset == request.body.length { handedOverAll = true }
        return count
    }

    /// libcurl rewinds the body when a kept connection turned out dead.
    func seek(to position: Int64) -> Bool {
        guard position >= 0, position <= Int64(request.body.length) else { return false }
        offset = Int(position)
        return true
    }

    /// One header line, or the status line that begins a new answer (`100 Continue` comes before the real one).
    func header(_ line: UnsafeRawBufferPointer) -> Bool {
        headerBytes += line.count
        guard headerBytes <= HTTPTransfer.maxHeaderBytes else {
            stop = .answerTooLong
            return false
        }
        let text = String(decoding: line, as: UTF8.self)
        if text.hasPrefix("HTTP/") {
            let parts = text.split(whereSeparator: { " \r\n".contains($0) })
            response = HTTPResponse(status: parts.count > 1 ? Int(parts[1]) ?? 0 : 0, headers: [], body: [])
        } else if let colon = text.firstIndex(of: ":") {
            let value = text[text.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            let end = value.lastIndex { !$0.isWhitespace }
            let trimmed = end.map { String(value[...$0]) } ?? ""
            response.headers.append(HeaderField(name: text[..<colon].lowercased(), value: trimmed))
        }
        return true
    }

    /// Content: to the sink if the answer is a good one, else into the bounded body.
    func content(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if let sink, response.status / 100 == 2 {
            let more = sink(bytes.assumingMemoryBound(to: UInt8.self).span)
            if !more { stop = .sinkIsDone }
            return more
        }
        guard response.body.count + bytes.count <= request.answerLimit else {
            stop = .answerTooLong
            return false
        }
        response.body += bytes
        return true
    }

    /// Asked at least once a second.
    func shouldStop() -> Bool {
        guard abort.isRaised else { return false }
        stop = .aborted
        return true
    }
}
