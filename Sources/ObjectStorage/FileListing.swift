import Glibc

/// Walks a directory tree in the order of keys, which is not that of names: `a/` comes after `a-b`.
/// Memory: the entries of the directories on the way down, and one page.
struct FileListing {
    private let root: String
    private let request: ListRequest
    private let after: String?
    private var objects: [ListedObject] = []
    private var prefixes: [String] = []
    private var last: String?
    private var isFull = false

    init(root: String, _ request: ListRequest) {
        self.root = root
        self.request = request
        after = request.continuing?.token ?? request.startAfter
    }

    var page: ListPage {
        ListPage(
            objects: objects, commonPrefixes: prefixes, next: isFull ? last.map(ListContinuation.init) : nil)
    }

    mutating func run() throws(StorageError) { try visit("") }

    /// - Parameter path: the directory's keys begin with it: empty, or with a slash at its end.
    private mutating func visit(_ path: String) throws(StorageError) {
        for entry in try entries(of: path) where !isFull {
            let key = path + entry
            if entry.utf8.last == UInt8(ascii: "/") {
                try directory(key)
            } else if KeyOrder.starts(key, with: request.prefix), isAfter(key) {
                guard let size = size(key) else { continue }
                if take(key) { objects.append(ListedObject(key: key, size: size)) }
            }
        }
    }

    private mutating func directory(_ key: String) throws(StorageError) {
        let isInside = KeyOrder.starts(key, with: request.prefix)
        guard isInside || KeyOrder.starts(request.prefix, with: key) else { return }
        if request.delimited, isInside, key.utf8.count > request.prefix.utf8.count {
            // What a crash left empty is no prefix of anything.
            if isAfter(key), try hasObject(key), take(key) { prefixes.append(key) }
        } else if isAfter(key) || after.map({ KeyOrder.starts($0, with: key) }) ?? true {
            try visit(key)
        }
    }

    private func isAfter(_ key: String) -> Bool { after.map { KeyOrder.precedes($0, key) } ?? true }

    /// False when the page is full: then there is at least this one more.
    private mutating func take(_ key: String) -> Bool {
        guard objects.count + prefixes.count < request.max else {
            isFull = true
            return false
        }
        last = key
        return true
    }

    private func hasObject(_ path: String) throws(StorageError) -> Bool {
        for entry in try entries(of: path) {
            if entry.utf8.last != UInt8(ascii: "/") { return true }
            if try hasObject(path + entry) { return true }
        }
        return false
    }

    private func size(_ key: String) -> Int64? {
        var status = stat()
        // Gone meanwhile: not listed.
        guard stat("\(root)/\(key)", &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int64(status.st_size)
    }

    /// Visible names, directories with a slash, in the order of bytes.
    private func entries(of path: String) throws(StorageError) -> [String] {
        guard let directory = opendir("\(root)/\(path)") else {
            if errno == ENOENT || errno == ENOTDIR { return [] }
            throw StorageError(errno: errno, "list", key: request.prefix, "opendir \(path)")
        }
        defer { closedir(directory) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(directory) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasPrefix(".") { continue }
            let isDirectory =
                entry.pointee.d_type == DT_DIR
                || (entry.pointee.d_type == DT_UNKNOWN || entry.pointee.d_type == DT_LNK)
                    && isDirectoryAt("\(root)/\(path)\(name)")
            names.append(isDirectory ? name + "/" : name)
        }
        if errno != 0 { throw StorageError(errno: errno, "list", key: request.prefix, "readdir \(path)") }
        return names.sorted(by: KeyOrder.precedes)
    }

    private func isDirectoryAt(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}
