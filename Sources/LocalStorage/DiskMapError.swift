/// What SQLite or the file system refused a `DiskMap`.
public struct DiskMapError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What the caller can do about it.
    public enum Kind: Sendable, Hashable {
        /// The bound of its bytes is reached, or the disk is full.
        case full
        /// The directory cannot be used, or the disk fails.
        case unusable
    }

    /// What the caller can do about it.
    public let kind: Kind
    /// What happened, in one line, with the directory.
    public let description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
