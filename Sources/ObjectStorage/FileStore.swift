import Glibc

/// A directory whose files are objects. How one is published is `FilePublication`'s business; here is all around it.
final class FileStore {
    private let root: String
    private let abort: AbortFlag
    /// Directories whose own entry, up to the root's, we know to be on the disk.
    private var durable: Set<String> = []

    init(_ settings: FileStoreSettings, abort: AbortFlag) throws(StorageError) {
        var root = settings.root
        while root.count > 1, root.hasSuffix("/") { root.removeLast() }
        guard root.hasPrefix("/") else {
            throw StorageError(.fatal, "open", "file store \(printable(root)): the path must be absolute")
        }
        self.root = root == "/" ? "" : root
        self.abort = abort
    }

    func put(_ put: PutRequest) throws(StorageError) -> PutResult {
        let (directory, name) = place(of: put.key)
        let publication = FilePublication(directory: directory, name: name, key: put.key, abort: abort)
        do {
            try makeDurable(directory, put.key)
            return try publication.publish(put)
        } catch  where error.kind == .notFound {
            // Whoever takes the objects elsewhere has taken the folder too: it is made again.
            durable.removeAll()
            throw StorageError(.transient, "put", key: put.key, code: error.code, error.message, hint: error.hint)
        }
    }

    /// Writes a hidden file and takes it away: a put of what is there already writes nothing.
    func probe(_ key: String) throws(StorageError) {
        let (directory, name) = place(of: key)
        try makeDurable(directory, key)
        let hidden = "\(directory)/\(FileNames(name[...]).newHidden())"
        let file = try OpenFile(hidden, O_WRONLY | O_CREAT | O_EXCL, "put", key: key)
        defer { unlink(hidden) }
        try file.write(Array("{}\n".utf8).span, at: 0, "put", key: key)
        try file.synchronize("put", key: key)
    }

    /// An object's folder, and its name there.
    private func place(of key: String) -> (directory: String, name: String) {
        let path = "\(root)/\(key)"
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    func head(_ key: String) throws(StorageError) -> ObjectInfo? {
        do {
            return try info(try OpenFile("\(root)/\(key)", O_RDONLY, "head", key: key), "head", key)
        } catch {
            // `a` being an object, there is nothing under `a/b`.
            if error.kind == .notFound || error.isErrno(ENOTDIR) { return nil }
            throw error
        }
    }

    func get(_ key: String, sink: (Span<UInt8>) -> Bool) throws(StorageError) -> ObjectInfo {
        let file = try OpenFile("\(root)/\(key)", O_RDONLY, "get", key: key)
        guard let info = try info(file, "get", key) else {
            throw StorageError(.notFound, "get", key: key, "it is a directory")
        }
        var buffer = [UInt8](repeating: 0, count: ObjectBody.pieceLength)
        var offset = 0
        while true {
            if abort.isRaised { throw StorageError(.aborted, "get", key: key, "ended by a shutdown") }
            let count = try file.read(into: &buffer, at: offset, "get", key: key)
            if count == 0 || !sink(buffer.span.extracting(0..<count)) { return info }
            offset += count
        }
    }

    func delete(_ key: String) throws(StorageError) {
        let path = "\(root)/\(key)"
        guard let slash = path.lastIndex(of: "/") else { return }
        let directory = String(path[..<slash])
        // The metadata first: metadata without an object would look like a writer in the middle of its work.
        for doomed in ["\(directory)/\(FileNames(path[path.index(after: slash)...]).metadata)", path] {
            if unlink(doomed) != 0, errno != ENOENT, errno != ENOTDIR {
                throw StorageError(errno: errno, "delete", key: key, "unlink")
            }
        }
    }

    func list(_ list: ListRequest) throws(StorageError) -> ListPage {
        var walk = FileListing(root: root, list)
        try walk.run()
        return walk.page
    }

    /// nil for a directory.
    private func info(_ file: borrowing OpenFile, _ operation: String, _ key: String) throws(StorageError)
        -> ObjectInfo?
    {
        let status = try file.status(operation, key: key)
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        let path = "\(root)/\(key)"
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        let names = FileNames(path[path.index(after: slash)...])
        let meta = try names.readMetadata(in: String(path[..<slash]), operation, key: key)
        return ObjectInfo(
            size: Int64(status.st_size),
            metadata: Dictionary(meta?.metadata ?? [], uniquingKeysWith: { first, _ in first }),
            etag: meta?.etag, contentType: meta?.contentType, contentEncoding: meta?.contentEncoding)
    }

    /// Makes a directory and its parents, and waits until each new entry is on the disk. An entry that somebody else has just
    /// made may not be, hence the `fsync` of all parents below the root the first time.
    private func makeDurable(_ directory: String, _ key: String) throws(StorageError) {
        if durable.contains(directory) { return }
        guard let slash = directory.lastIndex(of: "/"), !directory.isEmpty else { return }
        let parent = String(directory[..<slash])
        let isBelowRoot = directory.utf8.count > root.utf8.count
        // Kept at once: what follows has failures of its own.
        var failure = mkdir(directory, 0o755) == 0 ? 0 : errno
        if failure == ENOENT {
            try makeDurable(parent, key)
            failure = mkdir(directory, 0o755) == 0 ? 0 : errno
        } else if isBelowRoot {
            try makeDurable(parent, key)
        }
        guard failure == 0 || failure == EEXIST else {
            throw StorageError(errno: failure, "put", key: key, "mkdir \(directory)")
        }
        if failure == 0 || isBelowRoot {
            try OpenFile(parent.isEmpty ? "/" : parent, O_RDONLY | O_DIRECTORY, "put", key: key)
                .synchronize("put", key: key)
        }
        // Hours come and go: what was forgotten is only synchronised once more.
        if durable.count >= 256 { durable.removeAll(keepingCapacity: true) }
        durable.insert(directory)
    }
}
