import CLZ4

/// liblz4's reader of one frame.
final class LZ4Decoder {
    private let context: OpaquePointer
    private let output: UnsafeMutableBufferPointer<UInt8>
    private(set) var isComplete = false

    init() throws(StorageError) {
        var made: OpaquePointer?
        let code = LZ4F_createDecompressionContext(&made, UInt32(LZ4F_VERSION))
        guard LZ4F_isError(code) == 0, let made else { throw StorageError(lz4: code, "decompress") }
        context = made
        output = .allocate(capacity: 256 * 1024)
    }

    deinit {
        LZ4F_freeDecompressionContext(context)
        output.deallocate()
    }

    /// The next `decode` begins a new frame.
    func reset() {
        LZ4F_resetDecompressionContext(context)
        isComplete = false
    }

    func decode(_ input: Span<UInt8>, into sink: ByteSink) throws(StorageError) {
        let failure: StorageError? = input.withUnsafeBytes { bytes in
            var rest = bytes[...]
            var mayHoldMore = true
            do throws(StorageError) {
                while !rest.isEmpty || mayHoldMore {
                    if isComplete {
                        if rest.isEmpty { return nil }
                        throw StorageError.trailingBytes
                    }
                    var taken = rest.count
                    var given = output.count
                    let source = UnsafeRawBufferPointer(rebasing: rest).baseAddress
                    let code = LZ4F_decompress(context, output.baseAddress, &given, source, &taken, nil)
                    guard LZ4F_isError(code) == 0 else {
                        throw StorageError(
                            .malformed, "decompress", code: String(cString: LZ4F_getErrorName(code)),
                            "the stream is not lz4, or broken")
                    }
                    rest = rest.dropFirst(taken)
                    isComplete = code == 0
                    mayHoldMore = given == output.count
                    if given > 0 { try sink(UnsafeBufferPointer(rebasing: output[..<given]).span) }
                    // Neither in nor out: it waits for more input.
                    if taken == 0 && given == 0 { break }
                }
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }
}
