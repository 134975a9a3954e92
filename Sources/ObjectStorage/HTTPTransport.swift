import CCurl

/// One libcurl handle with its kept connections, on one thread at a time.
final class HTTPTransport {
    /// What does not change from request to request.
    struct Options {
        var connectTimeout: Duration
        var stallTimeout: Duration
        var userAgent: String
        var caFile: String?
        var usesProxy: Bool
    }

    private static let largeBody = 1 << 20

    private let handle: UnsafeMutableRawPointer
    private let errorText: UnsafeMutablePointer<CChar>
    private let options: Options
    let abort: AbortFlag

    /// Once a process, before the first handle: `curl_global_init` on its own is not safe beside other threads of curl.
    private static let global = curl_global_init(sluice_curl_global_all)

    init(_ options: Options, abort: AbortFlag) throws(StorageError) {
        guard HTTPTransport.global == CURLE_OK, let handle = curl_easy_init() else {
            throw StorageError(.fatal, "open", "libcurl cannot be initialised")
        }
        self.handle = handle
        self.options = options
        self.abort = abort
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    }

    deinit {
        curl_easy_cleanup(handle)
        errorText.deallocate()
    }

    /// Sends a request and waits for its answer, whatever its status.
    func perform(_ request: HTTPRequest, sink: ContentSink? = nil) throws(TransportFailure) -> HTTPResponse {
        let transfer = HTTPTransfer(request, abort: abort, sink: sink)
        if abort.isRaised {
            throw TransportFailure(code: CURLE_ABORTED_BY_CALLBACK, text: "", mayBeStored: false, stop: .aborted)
        }
        var list: UnsafeMutablePointer<curl_slist>?
        defer { curl_slist_free_all(list) }
        var lines = request.headers.map { "\($0.name): \($0.value)" }
        // curl's own header would not be the one that was signed, or sends what is not wanted.
        if !request.method.hasBody { lines.append("Content-Type:") }
        lines.append("Accept:")
        // curl asks before it sends any body. For a large one that spares sending what is refused; for a small one it costs
        // a round trip, and a second with servers that do not answer.
        if request.body.length <= HTTPTransport.largeBody { lines.append("Expect:") }
        for line in lines {
            guard let longer = curl_slist_append(list, line) else {
                throw TransportFailure(code: CURLE_OUT_OF_MEMORY, text: "", mayBeStored: false, stop: nil)
            }
            list = longer
        }
        let code = withExtendedLifetime(transfer) {
            let code = prepare(request, transfer, list)
            return code == CURLE_OK ? curl_easy_perform(handle) : code
        }
        // The early end that a sink asked for is not a failure.
        if code == CURLE_OK || transfer.stop == .sinkIsDone { return transfer.response }
        var sent = 0
        sluice_curl_get_long(handle, CURLINFO_REQUEST_SIZE, &sent)
        var systemError = 0
        sluice_curl_get_long(handle, CURLINFO_OS_ERRNO, &systemError)
        throw TransportFailure(
            code: code, text: printable(String(cString: errorText)),
            mayBeStored: request.method == .put && transfer.handedOverAll && sent > 0, stop: transfer.stop,
            systemError: Int32(truncatingIfNeeded: systemError))
    }

    private func prepare(
        _ request: HTTPRequest, _ transfer: HTTPTransfer, _ headers: UnsafeMutablePointer<curl_slist>?
    ) -> CURLcode {
        errorText[0] = 0
        // Keeps connections, DNS and TLS sessions; forgets every option.
        curl_easy_reset(handle)
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        var codes = common(request, context)
        codes.append(sluice_curl_set_pointer(handle, CURLOPT_HTTPHEADER, headers))
        switch request.method {
        case .get:
            codes.append(sluice_curl_set_long(handle, CURLOPT_HTTPGET, 1))
        case .head:
            codes.append(sluice_curl_set_long(handle, CURLOPT_NOBODY, 1))
        case .delete:
            codes.append(sluice_curl_set_string(handle, CURLOPT_CUSTOMREQUEST, "DELETE"))
        case .put:
            codes.append(sluice_curl_set_long(handle, CURLOPT_UPLOAD, 1))
            codes.append(sluice_curl_set_offset(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(request.body.length)))
        case .post:
            codes.append(sluice_curl_set_long(handle, CURLOPT_POST, 1))
            codes.append(sluice_curl_set_offset(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body.length)))
        }
        if request.method.hasBody {
            codes.append(sluice_curl_set_data(handle, CURLOPT_READFUNCTION, readBody))
            codes.append(sluice_curl_set_pointer(handle, CURLOPT_READDATA, context))
            codes.append(sluice_curl_set_seek(handle, seekBody))
            codes.append(sluice_curl_set_pointer(handle, CURLOPT_SEEKDATA, context))
            codes.append(sluice_curl_set_long(handle, CURLOPT_UPLOAD_BUFFERSIZE, 256 * 1024))
        }
        return codes.first { $0 != CURLE_OK } ?? CURLE_OK
    }

    private func common(_ request: HTTPRequest, _ context: UnsafeMutableRawPointer) -> [CURLcode] {
        var codes = [
            sluice_curl_set_string(handle, CURLOPT_URL, request.url),
            sluice_curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https"),
            // The path is signed as it is.
            sluice_curl_set_long(handle, CURLOPT_PATH_AS_IS, 1),
            sluice_curl_set_long(handle, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1)),
            // No signal handlers in a program with threads; no redirects, which would leave the signature behind.
            sluice_curl_set_long(handle, CURLOPT_NOSIGNAL, 1),
            sluice_curl_set_long(handle, CURLOPT_FOLLOWLOCATION, 0),
            sluice_curl_set_long(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1),
            sluice_curl_set_long(handle, CURLOPT_TCP_KEEPALIVE, 1),
            sluice_curl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, options.connectTimeout.wholeMilliseconds),
            sluice_curl_set_long(handle, CURLOPT_TIMEOUT_MS, request.timeout.wholeMilliseconds),
            sluice_curl_set_long(handle, CURLOPT_LOW_SPEED_LIMIT, 1),
            sluice_curl_set_long(handle, CURLOPT_LOW_SPEED_TIME, max(1, options.stallTimeout.wholeMilliseconds / 1000)),
            sluice_curl_set_string(handle, CURLOPT_USERAGENT, options.userAgent),
            sluice_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText),
            sluice_curl_set_data(handle, CURLOPT_HEADERFUNCTION, takeHeader),
            sluice_curl_set_pointer(handle, CURLOPT_HEADERDATA, context),
            sluice_curl_set_data(handle, CURLOPT_WRITEFUNCTION, takeContent),
            sluice_curl_set_pointer(handle, CURLOPT_WRITEDATA, context),
            sluice_curl_set_progress(handle, askWhetherToStop),
            sluice_curl_set_pointer(handle, CURLOPT_XFERINFODATA, context),
            sluice_curl_set_long(handle, CURLOPT_NOPROGRESS, 0),
        ]
        // The system's folder of authorities is asked beside it.
        if let caFile = options.caFile { codes.append(sluice_curl_set_string(handle, CURLOPT_CAINFO, caFile)) }
        if !options.usesProxy { codes.append(sluice_curl_set_string(handle, CURLOPT_NOPROXY, "*")) }
        return codes
    }
}

extension Duration {
    /// At least 1: to libcurl 0 is "no limit".
    fileprivate var wholeMilliseconds: Int {
        let (seconds, attoseconds) = components
        let bounded = min(max(seconds, 0), 1_000_000)
        return max(1, Int(bounded) * 1000 + Int(attoseconds / 1_000_000_000_000_000))
    }
}

/// The transfer that `perform` passed as a callback's context, and keeps alive while libcurl runs.
private func transfer(_ context: UnsafeMutableRawPointer?) -> HTTPTransfer? {
    context.map { Unmanaged<HTTPTransfer>.fromOpaque($0).takeUnretainedValue() }
}

private func readBody(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    transfer(context)?.read(into: UnsafeMutableRawBufferPointer(start: data, count: size * count))
        ?? Int(CURL_READFUNC_ABORT)
}

private func seekBody(_ context: UnsafeMutableRawPointer?, _ offset: curl_off_t, _ origin: Int32) -> Int32 {
    // libcurl only ever seeks from the start.
    origin == 0 && transfer(context)?.seek(to: Int64(offset)) == true ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL
}

private func takeHeader(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    let line = UnsafeRawBufferPointer(start: data, count: size * count)
    return transfer(context)?.header(line) == true ? line.count : 0
}

private func takeContent(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    let bytes = UnsafeRawBufferPointer(start: data, count: size * count)
    // To libcurl any count but that of the bytes is the end of the transfer; for no bytes there is nothing to refuse.
    return bytes.isEmpty || transfer(context)?.content(bytes) == true ? bytes.count : Int(CURL_MAX_WRITE_SIZE) * 1024
}

private func askWhetherToStop(
    _ context: UnsafeMutableRawPointer?, _: curl_off_t, _: curl_off_t, _: curl_off_t, _: curl_off_t
) -> Int32 {
    transfer(context)?.shouldStop() == true ? 1 : 0
}
