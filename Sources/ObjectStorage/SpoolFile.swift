import Glibc

/// A nameless file on local disk that an object is gathered in before it is put: it vanishes with its owner, even a killed one.
public struct SpoolFile: ~Copyable {
    private let file: OpenFile
    /// Bytes written.
    public private(set) var length = 0

    /// - Parameter directory: on a local disk; must exist.
    /// - Throws: `StorageError` of the operation `spool`.
    public init(in directory: String) throws(StorageError) {
        do {
            file = try OpenFile(directory, O_RDWR | SpoolFile.nameless, mode: 0o600, "spool", key: nil)
        } catch {
            // Not every file system has nameless files: then one whose name goes at once.
            guard error.isErrno(EOPNOTSUPP, EISDIR) else { throw error }
            let path = "\(directory)/.sluice-spool-\(getpid())-\(String(UInt64.random(in: 0 ... .max), radix: 16))"
            file = try OpenFile(path, O_RDWR | O_CREAT | O_EXCL, mode: 0o600, "spool", key: nil)
            unlink(path)
        }
    }

    /// `O_TMPFILE`, a macro of two, which Swift does not import: `__O_TMPFILE | O_DIRECTORY`.
    private static let nameless = 0o20_000_000 | O_DIRECTORY

    /// Appends bytes: all or, as far as `length` knows, none.
    /// - Throws: `transient` for a full disk.
    public mutating func append(_ bytes: Span<UInt8>) throws(StorageError) {
        try file.write(bytes, at: length, "spool", key: nil)
        length += bytes.count
    }

    /// All that was written, as a body: valid as long as this file is, and until it is changed.
    public var body: ObjectBody { .file(descriptor: file.descriptor, length: length) }

    /// Puts `length` bytes that were written, from `offset` on, at the start of `buffer`, which grows where it is smaller.
    /// - Throws: `fatal` where the file ends before.
    public func read(into buffer: inout [UInt8], length: Int, at offset: Int) throws(StorageError) {
        if buffer.count < length { buffer += [UInt8](repeating: 0, count: length - buffer.count) }
        let failure: Int32 = buffer.withUnsafeMutableBytes { bytes in
            var done = 0
            while done < length {
                let rest = UnsafeMutableRawBufferPointer(rebasing: bytes[done..<length])
                let count = pread(file.descriptor, rest.baseAddress, rest.count, off_t(offset + done))
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { return count < 0 ? errno : EIO }
                done += count
            }
            return 0
        }
        if failure != 0 { throw StorageError(errno: failure, "spool", key: nil, "read") }
    }
}
