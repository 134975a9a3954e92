/// What every store accepts as a key and as metadata, so that one can take another's place.
enum ObjectKey {
    /// Refuses what S3 or a file system would take amiss: empty parts, `.`, `..`, hidden names, control characters.
    static func check(_ key: String, _ operation: String) throws(StorageError) {
        func refuse(_ reason: String) -> StorageError {
            StorageError(.fatal, operation, key: printable(key), "a key \(reason)")
        }
        if key.isEmpty || key.utf8.count > 1024 { throw refuse("has 1 to 1024 bytes") }
        if key.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { throw refuse("has no control characters") }
        for part in key.split(separator: "/", omittingEmptySubsequences: false) {
            if part.isEmpty { throw refuse("has no empty part between slashes") }
            if part.hasPrefix(".") { throw refuse("has no part that begins with a dot") }
        }
    }

    /// Metadata travels in headers: names of lower-case letters, digits and dashes, values of printable ASCII, 2 KB in all.
    static func check(metadata: [(String, String)], _ key: String) throws(StorageError) {
        func refuse(_ reason: String) -> StorageError { StorageError(.fatal, "put", key: key, "metadata \(reason)") }
        var names: Set<String> = []
        var size = 0
        for (name, value) in metadata {
            let isName =
                !name.isEmpty
                && name.utf8.allSatisfy {
                    (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D
                }
            guard isName else { throw refuse("has names of a-z, 0-9 and -: \(printable(name))") }
            guard names.insert(name).inserted else { throw refuse("has \(name) twice") }
            guard isHeaderValue(value) else {
                throw refuse("has values of printable ASCII without outer spaces: \(name)")
            }
            size += name.utf8.count + value.utf8.count
        }
        if size > 2048 { throw refuse("is at most 2048 bytes") }
    }

    static func isHeaderValue(_ value: String) -> Bool {
        value.utf8.allSatisfy { (0x20...0x7E).contains($0) } && value.first != " " && value.last != " "
    }
}
