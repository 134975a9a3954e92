package import ObjectStorage

/// Reads back the objects of a topic: each line, in the order of the offsets, with the checks that its metadata allows.
package struct ObjectReader: StoredObjects {
    private let store: StoreLocation

    package init(store: StoreLocation) { self.store = store }

    package func forEachLine(_ topic: String, _ body: ([UInt8]) -> Void) throws(AgentExit) -> [Int64?] {
        do throws(StorageError) {
            let store = try ObjectStore(store)
            var names: [(name: ObjectName, key: String)] = []
            var continuation: ListContinuation?
            repeat {
                let page = try store.list(prefix: "\(topic)/", continuing: continuation)
                for object in page.objects {
                    if let name = ObjectName(key: object.key, topic: topic) { names.append((name, object.key)) }
                }
                continuation = page.next
            } while continuation != nil
            names.sort { ($0.name.partition, $0.name.start) < ($1.name.partition, $1.name.start) }
            var ends: [Int64?] = []
            for (name, key) in names {
                let partition = Int(name.partition)
                while ends.count <= partition { ends.append(nil) }
                ends[partition] = try read(key, name, after: ends[partition], store, body)
            }
            return ends
        } catch {
            // A wrong object is a difference; a store that cannot be read is not.
            let code: AgentExit.Code = error.kind == .fatal ? .different : .unavailable
            throw AgentExit(code, "the store: \(error)")
        }
    }

    /// Answers the object's last offset.
    private func read(
        _ key: String, _ name: ObjectName, after end: Int64?, _ store: ObjectStore, _ body: ([UInt8]) -> Void
    ) throws(StorageError) -> Int64 {
        var decompressor = try Decompressor(Compression.of(key: key))
        var hasher = try SHA256Hasher()
        var line: [UInt8] = []
        var lines = 0
        var failure: StorageError?
        let info = try store.get(key) { piece in
            do throws(StorageError) {
                try decompressor.update(piece) { (bytes) throws(StorageError) in
                    hasher.update(bytes)
                    for index in bytes.indices {
                        let byte = bytes[index]
                        if byte == UInt8(ascii: "\n") {
                            body(line)
                            lines += 1
                            line.removeAll(keepingCapacity: true)
                        } else {
                            line.append(byte)
                        }
                    }
                }
                return true
            } catch {
                failure = error
                return false
            }
        }
        if let failure { throw failure }
        try decompressor.finish()
        func refuse(_ why: String) -> StorageError { StorageError(.fatal, "verify", key: key, why) }
        guard let object = StoredObject(metadata: info.metadata) else {
            throw refuse("the object has no metadata of sluice")
        }
        guard object.start == name.start else { throw refuse("its name and its metadata begin at different offsets") }
        guard object.start > end ?? -1 else {
            throw refuse("its range overlaps the one before, which ends at \(end ?? -1)")
        }
        guard line.isEmpty else { throw refuse("its last line has no end") }
        guard lines == object.records else {
            throw refuse("it has \(lines) lines, its metadata says \(object.records)")
        }
        guard try hasher.finish().hex == object.sha256 else {
            throw refuse("its content is not what its metadata says (SHA-256)")
        }
        return object.end
    }
}

extension Compression {
    /// As a key's ending says.
    fileprivate static func of(key: String) -> Compression {
        Compression.allCases.first { !$0.suffix.isEmpty && key.hasSuffix($0.suffix) } ?? .none
    }
}
