/// Unpacks a stream that one `Compressor` run made, and checks its checksum.
public struct Decompressor: ~Copyable {
    private enum Engine {
        case none
        case gzip(GzipDecoder)
        case lz4(LZ4Decoder)
    }

    private let engine: Engine

    /// - Throws: `fatal` if the library has no memory.
    public init(_ compression: Compression) throws(StorageError) {
        switch compression {
        case .none: engine = .none
        case .gzip: engine = .gzip(GzipDecoder())
        case .lz4: engine = .lz4(try LZ4Decoder())
        }
    }

    /// Takes in the next packed bytes; gives out what they hold, in pieces of bounded size.
    /// - Throws: `fatal` for bytes that are not of this format, and for any after its end.
    public mutating func update(_ input: Span<UInt8>, into sink: ByteSink) throws(StorageError) {
        if input.isEmpty { return }
        switch engine {
        case .none: try sink(input)
        case .gzip(let decoder): try decoder.decode(input, into: sink)
        case .lz4(let decoder): try decoder.decode(input, into: sink)
        }
    }

    /// Forgets the stream; the next `update` begins a new one.
    public mutating func reset() {
        switch engine {
        case .none: break
        case .gzip(let decoder): decoder.reset()
        case .lz4(let decoder): decoder.reset()
        }
    }

    /// - Throws: `fatal` if the stream is not complete.
    public mutating func finish() throws(StorageError) {
        let isComplete =
            switch engine {
            case .none: true
            case .gzip(let decoder): decoder.isComplete
            case .lz4(let decoder): decoder.isComplete
            }
        if !isComplete { throw StorageError(.malformed, "decompress", "the stream is cut") }
    }
}

extension StorageError {
    static var trailingBytes: StorageError {
        StorageError(.malformed, "decompress", "there are bytes after the end of the stream")
    }
}
