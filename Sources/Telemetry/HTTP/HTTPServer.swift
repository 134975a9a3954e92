import CMicroHTTPD
import Glibc
import Synchronization

/// Why the listener did not start.
public enum HTTPServerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Somebody else listens there.
    case addressInUse(String)
    /// The address is not one of this machine's.
    case addressNotAvailable(String)
    /// The port needs a right that the process does not have.
    case notPermitted(String)
    /// The host is no numeric address.
    case notAnAddress(String)
    /// Anything else, with the errno of the operating system.
    case failed(String, code: Int32)

    /// What happened and what to do.
    public var description: String {
        switch self {
        case .addressInUse(let address):
            "http: \(address) is in use by another process; set http to another port, or to off"
        case .addressNotAvailable(let address):
            "http: \(address) is no address of this machine; set http to one that is"
        case .notPermitted(let address): "http: no right to listen on \(address); ports below 1024 need one"
        case .notAnAddress(let host): "http: \(host) is not a numeric address"
        case .failed(let address, let code): "http: cannot listen on \(address) (errno \(code))"
        }
    }

    init(code: Int32, address: String) {
        switch code {
        case EADDRINUSE: self = .addressInUse(address)
        case EADDRNOTAVAIL: self = .addressNotAvailable(address)
        case EACCES, EPERM: self = .notPermitted(address)
        default: self = .failed(address, code: code)
        }
    }
}

/// Serves a few fixed paths to GET and HEAD on one address. Two threads, 32 connections, 10 seconds of silence at most.
public final class HTTPServer: Sendable {
    /// The routes, for libmicrohttpd's threads: held by one retain from start to stop.
    private final class Routes: Sendable {
        let table: [String: HTTPRoute]
        init(_ table: [String: HTTPRoute]) { self.table = table }
    }

    private struct Running {
        let daemon: OpaquePointer
        let routes: Unmanaged<Routes>
    }

    /// The port that is listened on, also where 0 was asked for.
    public let port: UInt16
    private let running: Mutex<Running?>

    /// Listens, and serves until ``stop()``.
    ///
    /// - Parameters:
    ///   - host: a numeric IPv4 or IPv6 address; the only one that is bound.
    ///   - port: 0 for any free one.
    ///   - idleTimeout: seconds after which a silent connection is closed.
    ///   - routes: by path, `/metrics`.
    public init(host: String, port: UInt16, idleTimeout: UInt32 = 10, routes: [String: HTTPRoute])
        throws(HTTPServerError)
    {
        let isIPv6 = host.contains(":")
        let address = isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)"
        guard let socketAddress = SocketAddress(host: host, port: port) else { throw .notAnAddress(host) }
        let retained = Unmanaged.passRetained(Routes(routes))
        var flags = MHD_USE_INTERNAL_POLLING_THREAD.rawValue | MHD_USE_EPOLL.rawValue
        if isIPv6 { flags |= MHD_USE_IPv6.rawValue }
        errno = 0
        let daemon = socketAddress.withPointer { pointer in
            let options: [any CVarArg] = [
                sluice_mhd_option_address, pointer,
                sluice_mhd_option_connections, UInt32(32),
                sluice_mhd_option_timeout, idleTimeout,
                sluice_mhd_option_memory, Int(16 * 1024),
                sluice_mhd_option_threads, UInt32(2),
                sluice_mhd_option_end,
            ]
            return withVaList(options) { list in
                MHD_start_daemon_va(flags, port, nil, nil, HTTPServer.handle, retained.toOpaque(), list)
            }
        }
        guard let daemon else {
            let code = errno
            retained.release()
            throw HTTPServerError(code: code, address: address)
        }
        self.port = sluice_mhd_bound_port(daemon)
        running = Mutex(Running(daemon: daemon, routes: retained))
    }

    /// Ends all connections and the threads, and returns when they have ended. May be called twice; never from a route.
    public func stop() {
        let was = running.withLock { running in
            defer { running = nil }
            return running.map { Stopping($0) }
        }
        guard let was else { return }
        MHD_stop_daemon(was.running.daemon)
        was.running.routes.release()
    }

    /// Carries the handles out of the lock.
    // Sound: whoever takes them out of the lock is the only owner, and pointers to a daemon may be used from any thread.
    private struct Stopping: @unchecked Sendable {
        let running: Running
        init(_ running: Running) { self.running = running }
    }

    deinit { stop() }

    /// Called by libmicrohttpd on its threads: once when the headers are there, once more when the (empty) body is.
    private static let handle: MHD_AccessHandlerCallback = {
        context, connection, path, method, _, _, bodySize, perRequest in
        guard let context, let connection, let path, let method, let bodySize, let perRequest else {
            return sluice_mhd_no
        }
        let verb = String(cString: method)
        guard verb == "GET" || verb == "HEAD" else {
            return HTTPServer.send(HTTPResponse(status: 405, text: "only GET and HEAD\n"), to: connection)
        }
        if perRequest.pointee == nil {
            // Any pointer but null: it says that the headers have been seen.
            perRequest.pointee = context
            return sluice_mhd_yes
        }
        // A body that a GET must not have: closes the connection.
        guard bodySize.pointee == 0 else { return sluice_mhd_no }
        let routes = Unmanaged<Routes>.fromOpaque(context).takeUnretainedValue()
        let response =
            routes.table[String(cString: path)].map { $0() } ?? HTTPResponse(status: 404, text: "not found\n")
        return HTTPServer.send(response, to: connection)
    }

    /// libmicrohttpd copies the body, and leaves it out for HEAD.
    private static func send(_ response: HTTPResponse, to connection: OpaquePointer) -> MHD_Result {
        var body = response.body
        let count = body.count
        let handle = body.withUnsafeMutableBytes {
            MHD_create_response_from_buffer(count, $0.baseAddress, sluice_mhd_must_copy)
        }
        guard let handle else { return sluice_mhd_no }
        defer { MHD_destroy_response(handle) }
        MHD_add_response_header(handle, "Content-Type", response.contentType)
        MHD_add_response_header(handle, "Cache-Control", "no-store")
        MHD_add_response_header(handle, "X-Content-Type-Options", "nosniff")
        if response.contentType.hasPrefix("text/html") {
            MHD_add_response_header(handle, "Content-Security-Policy", StatusPage.contentSecurityPolicy)
        }
        if response.status == 405 { MHD_add_response_header(handle, "Allow", "GET, HEAD") }
        return MHD_queue_response(connection, response.status, handle)
    }
}
