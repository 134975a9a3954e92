import Glibc

/// An open descriptor, closed once. Every failure is a `StorageError` that says which call it was.
struct OpenFile: ~Copyable {
    let descriptor: Int32

    /// - Parameter flags: `O_CLOEXEC` is added.
    init(_ path: String, _ flags: Int32, mode: mode_t = 0o644, _ operation: String, key: String?) throws(StorageError) {
        var descriptor: Int32
        repeat { descriptor = open(path, flags | O_CLOEXEC, mode) } while descriptor < 0 && errno == EINTR
        guard descriptor >= 0 else { throw StorageError(errno: errno, operation, key: key, "open \(path)") }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Writes all of `bytes` from `offset` on.
    func write(_ bytes: Span<UInt8>, at offset: Int, _ operation: String, key: String?) throws(StorageError) {
        let failure: Int32 = bytes.withUnsafeBytes { raw in
            var rest = raw[...]
            while !rest.isEmpty {
                let place = off_t(offset + raw.count - rest.count)
                let count = pwrite(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count, place)
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { return count < 0 ? errno : EIO }
                rest = rest.dropFirst(count)
            }
            return 0
        }
        if failure != 0 { throw StorageError(errno: failure, operation, key: key, "write") }
    }

    /// Waits until the content is on the disk.
    func synchronize(_ operation: String, key: String?) throws(StorageError) {
        if fsync(descriptor) != 0 { throw StorageError(errno: errno, operation, key: key, "fsync") }
    }

    /// Reads into `buffer` from `offset`; 0 at the end of the file.
    func read(into buffer: inout [UInt8], at offset: Int, _ operation: String, key: String?) throws(StorageError) -> Int
    {
        try readFile(descriptor, into: &buffer, at: offset, operation, key: key)
    }

    func status(_ operation: String, key: String?) throws(StorageError) -> stat {
        var result = stat()
        if fstat(descriptor, &result) != 0 { throw StorageError(errno: errno, operation, key: key, "fstat") }
        return result
    }
}

/// `pread` that does not mind signals.
func readFile(
    _ descriptor: Int32, into buffer: inout [UInt8], at offset: Int, _ operation: String, key: String?
) throws(StorageError) -> Int {
    var count = 0
    repeat { count = pread(descriptor, &buffer, buffer.count, off_t(offset)) } while count < 0 && errno == EINTR
    if count < 0 { throw StorageError(errno: errno, operation, key: key, "read") }
    return count
}

extension ObjectBody {
    static let pieceLength = 256 * 1024

    /// Hands out the body, piece by piece.
    func pieces(
        _ operation: String, key: String?, _ take: (Span<UInt8>) throws(StorageError) -> Void
    ) throws(StorageError) {
        switch self {
        case .bytes(let bytes):
            try take(bytes.span)
        case .file(let descriptor, let length):
            var buffer = [UInt8](repeating: 0, count: ObjectBody.pieceLength)
            var offset = 0
            while offset < length {
                let count = min(
                    try readFile(descriptor, into: &buffer, at: offset, operation, key: key), length - offset)
                guard count > 0 else {
                    throw StorageError(.fatal, operation, key: key, "the body's file is shorter than its stated length")
                }
                try take(buffer.span.extracting(0..<count))
                offset += count
            }
        }
    }

    func sha256(_ operation: String, key: String?) throws(StorageError) -> SHA256Digest {
        var hasher = try SHA256Hasher()
        try pieces(operation, key: key) { hasher.update($0) }
        return try hasher.finish()
    }
}
