import CCurl
import Glibc

/// Why a GET gave no answer.
public enum PlainGetError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Nobody listens there.
    case refused(String)
    /// No whole answer within the time.
    case timedOut(String)
    /// Something answers, but not in HTTP, or not all that it announces, or more than 8 MiB.
    case notHTTP(String)
    /// Anything else, with the errno of the operating system, or libcurl's words.
    case failed(String, why: String)

    /// What happened and what to do.
    public var description: String {
        switch self {
        case .refused(let address): "nothing listens on \(address): is sluice running with this configuration?"
        case .timedOut(let address): "no answer from \(address) in time"
        case .notHTTP(let address): "what listens on \(address) is not sluice"
        case .failed(let address, let why): "cannot reach \(address) (\(why))"
        }
    }

    init(_ failure: TransportFailure, _ address: String) {
        if failure.stop == .answerTooLong {
            self = .notHTTP(address)
            return
        }
        switch failure.code {
        case CURLE_OPERATION_TIMEDOUT: self = .timedOut(address)
        case CURLE_COULDNT_CONNECT where failure.systemError == ECONNREFUSED: self = .refused(address)
        // The second is how libcurl takes an answer without a status line: as HTTP/0.9.
        case CURLE_GOT_NOTHING, CURLE_UNSUPPORTED_PROTOCOL, CURLE_WEIRD_SERVER_REPLY, CURLE_PARTIAL_FILE:
            self = .notHTTP(address)
        default:
            self = .failed(address, why: failure.systemError == 0 ? failure.text : "errno \(failure.systemError)")
        }
    }
}

/// One GET of a numeric address, in the clear and past any proxy: what `sluice status` needs, and no more.
public enum PlainGet {
    private static let maximumBytes = 8 << 20

    /// The status and the body of the answer, within `timeout` in all.
    /// - Parameter host: IPv4 or IPv6, without brackets.
    public static func get(
        host: String, port: UInt16, path: String, timeout: Duration
    ) throws(PlainGetError) -> (status: Int, body: [UInt8]) {
        let address = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        let transport: HTTPTransport
        do throws(StorageError) {
            transport = try HTTPTransport(
                .init(
                    connectTimeout: timeout, stallTimeout: timeout, userAgent: "sluice", caFile: nil, usesProxy: false),
                abort: AbortFlag())
        } catch { throw .failed(address, why: "\(error)") }
        do throws(TransportFailure) {
            let answer = try transport.perform(
                HTTPRequest(
                    method: .get, url: "http://\(address)\(path)", headers: [], answerLimit: maximumBytes,
                    timeout: timeout))
            return (answer.status, answer.body)
        } catch { throw PlainGetError(error, address) }
    }
}
