import CIsal

/// libisal's inflate over one gzip member.
final class GzipDecoder {
    private let state: UnsafeMutablePointer<inflate_state>
    private let output: UnsafeMutableBufferPointer<UInt8>

    init() {
        state = .allocate(capacity: 1)
        output = .allocate(capacity: 128 * 1024)
        reset()
    }

    deinit {
        state.deallocate()
        output.deallocate()
    }

    /// The next `decode` begins a new member.
    func reset() {
        isal_inflate_init(state)
        state.pointee.crc_flag = UInt32(ISAL_GZIP)
    }

    var isComplete: Bool { state.pointee.block_state == ISAL_BLOCK_FINISH }

    func decode(_ input: Span<UInt8>, into sink: ByteSink) throws(StorageError) {
        guard let base = output.baseAddress else { return }
        if isComplete { throw StorageError.trailingBytes }
        // Neither written to nor kept, as with the encoder.
        let failure: StorageError? = input.withUnsafeBufferPointer { bytes in
            state.pointee.next_in = UnsafeMutablePointer(mutating: bytes.baseAddress)
            state.pointee.avail_in = UInt32(bytes.count)
            do throws(StorageError) {
                repeat {
                    state.pointee.next_out = base
                    state.pointee.avail_out = UInt32(output.count)
                    let code = isal_inflate(state)
                    guard code == ISAL_DECOMP_OK || code == ISAL_END_INPUT else {
                        throw StorageError(
                            .malformed, "decompress", code: "isal \(code)", "the stream is not gzip, or broken")
                    }
                    let count = output.count - Int(state.pointee.avail_out)
                    if count > 0 { try sink(UnsafeBufferPointer(start: base, count: count).span) }
                } while !isComplete && (state.pointee.avail_out == 0 || state.pointee.avail_in > 0)
                if isComplete, state.pointee.avail_in > 0 || state.pointee.read_in_length >= 8 {
                    throw StorageError.trailingBytes
                }
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }
}
