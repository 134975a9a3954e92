// Fuzz target: what an S3 server answers, read as libcurl hands it over. Compiled together with the sources of
// `ObjectStorage` by `ops/fuzz`. An input is an answer of HTTP/1.1: lines, an empty line, content.

/// Called by libFuzzer for each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzStorage(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let request = HTTPRequest(method: .get, url: "http://127.0.0.1/b/k", headers: [], timeout: .seconds(1))
    let transfer = HTTPTransfer(request, abort: AbortFlag(), sink: nil)
    let input = UnsafeRawBufferPointer(start: start, count: count)
    guard let content = takeHeaders(input, transfer) else { return 0 }
    // In two parts, as it may come.
    let half = (content + count) / 2
    guard transfer.content(UnsafeRawBufferPointer(rebasing: input[content..<half])),
        transfer.content(UnsafeRawBufferPointer(rebasing: input[half...]))
    else {
        precondition(transfer.stop == .answerTooLong)
        return 0
    }
    check(transfer.response)
    return 0
}

/// The lines up to the empty one; gives where the content begins, nil where the transfer was ended.
private func takeHeaders(_ input: UnsafeRawBufferPointer, _ transfer: HTTPTransfer) -> Int? {
    var start = 0
    while start < input.count {
        let end = input[start...].firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? input.count
        let line = UnsafeRawBufferPointer(rebasing: input[start..<end])
        guard transfer.header(line) else {
            precondition(transfer.stop == .answerTooLong)
            return nil
        }
        start = end
        if line.count <= 2, line.allSatisfy({ $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) { break }
    }
    return start
}

private func check(_ answer: HTTPResponse) {
    for prefix in ["", "p/"] {
        guard let list = try? S3ListDocument(answer.body, removing: prefix) else { continue }
        precondition(list.objects.allSatisfy { $0.size >= 0 })
        for (left, right) in zip(list.objects, list.objects.dropFirst()) {
            precondition(!KeyOrder.precedes(right.key, left.key), "not in order")
        }
        precondition(list.continuationToken?.isEmpty != true)
    }
    for now in [Int64(0), 1_700_000_000] {
        let error = StorageError(answer: answer, "get", key: "k", now: now)
        precondition(isOneLine(error.description), "an error that is not one line")
        precondition(error.retryAfter.map { $0 >= .zero } ?? true, "a wait into the past")
    }
    if let info = try? answer.info("get", key: "k") { precondition(info.size >= 0) }
}

/// Logs and terminals get it as it is.
private func isOneLine(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
}
