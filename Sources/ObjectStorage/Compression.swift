/// How an object's content is packed.
public enum Compression: String, Sendable, CaseIterable {
    /// As it is.
    case none
    /// RFC 1952, one member.
    case gzip
    /// The LZ4 frame format.
    case lz4

    /// What is appended to an object's name: ``, `.gz`, `.lz4`.
    public var suffix: String {
        switch self {
        case .none: ""
        case .gzip: ".gz"
        case .lz4: ".lz4"
        }
    }
}

/// Receives a stage's output; what it throws ends the stage's call.
public typealias ByteSink = (Span<UInt8>) throws(StorageError) -> Void

/// Packs a stream. The same input gives the same output, however it was cut into pieces, with the same library on the same kind
/// of processor. Used again after `finish` without allocating anything anew; memory is bounded (below 1 MiB).
public struct Compressor: ~Copyable {
    private enum Engine {
        case none
        case gzip(GzipEncoder)
        case lz4(LZ4Encoder)
    }

    private let engine: Engine
    private let blockLength: Int
    /// Input gathered to whole blocks, so that the engine sees the same pieces whatever the caller's are.
    private var block: [UInt8] = []
    /// A call failed half-way: the stream is torn, and stays so until `reset`.
    private var isTorn = false

    /// - Throws: `fatal` if the library has no memory.
    public init(_ compression: Compression) throws(StorageError) {
        switch compression {
        case .none: (engine, blockLength) = (.none, 64 * 1024)
        case .gzip: (engine, blockLength) = (.gzip(try GzipEncoder()), GzipEncoder.blockLength)
        case .lz4: (engine, blockLength) = (.lz4(try LZ4Encoder()), LZ4Encoder.blockLength)
        }
        block.reserveCapacity(blockLength)
    }

    /// Takes in the next bytes; gives out what is complete.
    public mutating func update(_ input: Span<UInt8>, into sink: ByteSink) throws(StorageError) {
        guard !isTorn else { throw StorageError(.fatal, "compress", "used after a failure without a reset") }
        isTorn = true
        var offset = 0
        while offset < input.count {
            let count = min(blockLength - block.count, input.count - offset)
            input.extracting(offset..<(offset + count)).withUnsafeBufferPointer { block.append(contentsOf: $0) }
            offset += count
            if block.count == blockLength { try flush(isLast: false, into: sink) }
        }
        isTorn = false
    }

    /// Ends the stream and gives out the rest. The next `update` begins a new one.
    public mutating func finish(into sink: ByteSink) throws(StorageError) {
        guard !isTorn else { throw StorageError(.fatal, "compress", "used after a failure without a reset") }
        isTorn = true
        try flush(isLast: true, into: sink)
        isTorn = false
    }

    /// Forgets the stream in the making.
    public mutating func reset() {
        block.removeAll(keepingCapacity: true)
        isTorn = false
        switch engine {
        case .none: break
        case .gzip(let encoder): encoder.reset()
        case .lz4(let encoder): encoder.reset()
        }
    }

    private mutating func flush(isLast: Bool, into sink: ByteSink) throws(StorageError) {
        switch engine {
        case .none: if !block.isEmpty { try sink(block.span) }
        case .gzip(let encoder): try encoder.encode(block.span, isLast: isLast, into: sink)
        case .lz4(let encoder): try encoder.encode(block.span, isLast: isLast, into: sink)
        }
        block.removeAll(keepingCapacity: true)
    }
}
