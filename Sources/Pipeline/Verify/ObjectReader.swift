package import ObjectStorage
import Threads

/// Reads back the objects of a topic: each line, in the order of the offsets, with the checks that its metadata allows.
package struct ObjectReader: StoredObjects {
    private let store: StoreLocation
    /// Who reads has a person waiting: a store that is away for longer is told of.
    private static let retries = RetryPolicy(base: .milliseconds(250), cap: .seconds(4), maxAttempts: 6)

    package init(store: StoreLocation) { self.store = store }

    package func forEachLine(
        _ topic: String, _ body: (_ line: [UInt8], _ epoch: UInt32) -> Bool
    ) throws(AgentExit) -> [Int32: StoredOffsets] {
        do throws(StorageError) {
            let store = try ObjectStore(store)
            let before = try list(topic, store)
            let names = Self.steady(try list(topic, store), seenBefore: before.map(\.name))
            var offsets: [Int32: StoredOffsets] = [:]
            for (name, key) in names {
                var held = offsets[name.partition] ?? StoredOffsets()
                guard let object = try read(key, name, from: held.next, store, body) else { break }
                held.add(object)
                offsets[name.partition] = held
            }
            return offsets
        } catch { throw Self.exit(error) }
    }

    /// What a second listing has up to what the first one saw, in order. A listing takes its time: what is put meanwhile may be in it
    /// without what was put before. But a partition's objects are put one after the other.
    static func steady(
        _ found: [(name: ObjectName, key: String)], seenBefore: [ObjectName]
    ) -> [(name: ObjectName, key: String)] {
        var last: [Int32: Int64] = [:]
        for name in seenBefore { last[name.partition] = max(last[name.partition] ?? 0, name.start) }
        return found.filter { one in last[one.name.partition].map { one.name.start <= $0 } ?? false }
            .sorted { ($0.name.partition, $0.name.start) < ($1.name.partition, $1.name.start) }
    }

    private func list(
        _ topic: String, _ store: ObjectStore
    ) throws(StorageError) -> [(name: ObjectName, key: String)] {
        var names: [(name: ObjectName, key: String)] = []
        var continuation: ListContinuation?
        repeat {
            let page = try retrying { () throws(StorageError) in
                try store.list(prefix: "\(topic)/", continuing: continuation)
            }
            for object in page.objects {
                if let name = ObjectName(key: object.key, topic: topic) { names.append((name, object.key)) }
            }
            continuation = page.next
        } while continuation != nil
        return names
    }

    package func wrote(_ note: OffsetNote, of topic: String) throws(AgentExit) -> Bool {
        do throws(StorageError) {
            if try note.store == store.digest() { return true }
            // Another host may have another address for the same store.
            let store = try ObjectStore(store)
            let pin = try retrying { () throws(StorageError) in try TopicPin.read(of: topic, in: store) }
            return note.pin == pin?.id
        } catch { throw Self.exit(error) }
    }

    /// A wrong object is a difference; a store that cannot be read is not.
    private static func exit(_ error: StorageError) -> AgentExit {
        AgentExit(error.kind == .malformed ? .different : .unavailable, "the store: \(error)")
    }

    /// Answers what the object says of itself; nil where `body` wants no more.
    private func read(
        _ key: String, _ name: ObjectName, from next: Int64, _ store: ObjectStore, _ body: ([UInt8], UInt32) -> Bool
    ) throws(StorageError) -> StoredObject? {
        func refuse(_ why: String) -> StorageError { StorageError(.malformed, "verify", key: key, why) }
        // What the metadata says has to be known before the lines are.
        let head = try retrying { () throws(StorageError) in try store.head(key) }
        guard let head else { throw refuse("the object was listed, and is gone") }
        guard let object = StoredObject(metadata: head.metadata) else {
            throw refuse("the object has no metadata of sluice")
        }
        guard object.start == name.start else { throw refuse("its name and its metadata begin at different offsets") }
        guard object.start >= next else {
            throw refuse("its range overlaps the one before, which ends at \(next - 1)")
        }
        var given = 0
        var isWanted = true
        let content = try retrying { () throws(StorageError) in
            // A reading that was cut begins again, and its lines are given once.
            try lines(of: key, store) { number, line in
                if number <= given { return true }
                given = number
                isWanted = body(line, object.firstPosition.position.epoch)
                return isWanted
            }
        }
        guard isWanted else { return nil }
        guard content.isEnded else { throw refuse("its last line has no end") }
        guard content.lines == object.records else {
            throw refuse("it has \(content.lines) lines, its metadata says \(object.records)")
        }
        guard content.sha256 == object.sha256 else {
            throw refuse("its content is not what its metadata says (SHA-256)")
        }
        return object
    }

    private struct Content {
        var lines = 0
        var isEnded = true
        var sha256 = ""
    }

    /// Shows each line with its number, from 1, until `body` says false.
    private func lines(
        of key: String, _ store: ObjectStore, _ body: (Int, [UInt8]) -> Bool
    ) throws(StorageError) -> Content {
        var decompressor = try Decompressor(Compression.of(key: key))
        var hasher = try SHA256Hasher()
        var content = Content()
        var line: [UInt8] = []
        var isWanted = true
        var failure: StorageError?
        try store.get(key) { piece in
            do throws(StorageError) {
                try decompressor.update(piece) { (bytes) throws(StorageError) in
                    hasher.update(bytes)
                    for index in bytes.indices where isWanted {
                        let byte = bytes[index]
                        if byte == UInt8(ascii: "\n") {
                            content.lines += 1
                            isWanted = body(content.lines, line)
                            line.removeAll(keepingCapacity: true)
                        } else {
                            line.append(byte)
                        }
                    }
                }
                return isWanted
            } catch {
                failure = error
                return false
            }
        }
        if let failure { throw failure }
        guard isWanted else { return content }
        try decompressor.finish()
        content.isEnded = line.isEmpty
        content.sha256 = try hasher.finish().hex
        return content
    }

    private func retrying<Result>(_ body: () throws(StorageError) -> Result) throws(StorageError) -> Result {
        var attempt = 0
        while true {
            do throws(StorageError) {
                return try body()
            } catch {
                attempt += 1
                guard error.kind == .transient,
                    let wait = Self.retries.delay(afterAttempt: attempt, random: 1, retryAfter: error.retryAfter)
                else { throw error }
                Wakeup().wait(milliseconds: Int(wait / Duration.milliseconds(1)))
            }
        }
    }
}

extension Compression {
    /// As a key's ending says.
    fileprivate static func of(key: String) -> Compression {
        Compression.allCases.first { !$0.suffix.isEmpty && key.hasSuffix($0.suffix) } ?? .none
    }
}
