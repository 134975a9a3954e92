import Glibc

/// The names that belong to one object in its directory. No object's own name begins with a dot, so the three kinds cannot
/// meet: `<object>`, `.<object>.meta`, `..<object>.<16 digits>[.meta]`.
struct FileNames {
    static let metadataSuffix = ".meta"
    private static let digits = 16

    let object: String

    init(_ object: Substring) { self.object = String(object) }

    /// The metadata's final name.
    var metadata: String { ".\(object)\(FileNames.metadataSuffix)" }

    /// A name nobody else has: `O_EXCL` sees to it if chance does not.
    func newHidden() -> String {
        let number = String(UInt64.random(in: 0 ... .max), radix: 16)
        return "..\(object)." + String(repeating: "0", count: FileNames.digits - number.count) + number
    }

    /// Whether a name is one of `newHidden`'s, of this very object, with or without the metadata's suffix.
    func isHidden(_ name: String) -> Bool {
        let prefix = "..\(object)."
        guard KeyOrder.starts(name, with: prefix) else { return false }
        let rest = Array(name.utf8.dropFirst(prefix.utf8.count))
        let isNumber =
            rest.count >= FileNames.digits
            && rest.prefix(FileNames.digits).allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x66).contains($0)
            }
        let end = rest.dropFirst(FileNames.digits)
        return isNumber && (end.isEmpty || end.elementsEqual(FileNames.metadataSuffix.utf8))
    }

    /// nil if there is none, or not one of ours.
    func readMetadata(in directory: String, _ operation: String, key: String) throws(StorageError) -> FileMetadata? {
        do {
            return try FileNames.metadata(
                of: try OpenFile("\(directory)/\(metadata)", O_RDONLY, operation, key: key), operation, key: key)
        } catch {
            if error.kind == .notFound { return nil }
            throw error
        }
    }

    /// The content of an open metadata file; it is at most a few kilobytes.
    static func metadata(of file: borrowing OpenFile, _ operation: String, key: String) throws(StorageError)
        -> FileMetadata?
    {
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        let count = try file.read(into: &buffer, at: 0, operation, key: key)
        return FileMetadata(json: Array(buffer[..<count]))
    }
}
