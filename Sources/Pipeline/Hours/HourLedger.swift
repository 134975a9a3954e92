import ObjectStorage

/// What the store says of the hours of a topic: their objects and their manifests.
struct HourLedger {
    /// What is there of one hour.
    struct Hour: Equatable {
        var keys: [String] = []
        /// The highest revision of its manifest; 0 where it has none.
        var revision = 0
    }

    let store: ObjectStore

    /// Topics that have a folder in the store.
    func topics() throws(StorageError) -> [String] {
        var topics: [String] = []
        try forEachPage(prefix: "", delimited: true) { page in
            topics += page.commonPrefixes.map { String($0.dropLast()) }
        }
        return topics
    }

    /// The hours of a topic that have anything, from `first` on.
    /// - Parameter first: nil: all of them.
    func hours(of topic: String, from first: SourceHour?) throws(StorageError) -> [SourceHour: Hour] {
        var hours: [SourceHour: Hour] = [:]
        try forEachKey(of: topic, from: first) { hour, key in see(key, topic, in: &hours[hour, default: Hour()]) }
        return hours
    }

    /// The same hours with the highest revision of their manifests, 0 where they have none. It holds no keys: a topic may have
    /// years of them.
    func revisions(of topic: String, from first: SourceHour?) throws(StorageError) -> [SourceHour: Int] {
        var found: [SourceHour: Int] = [:]
        try forEachKey(of: topic, from: first) { hour, key in
            found[hour] = max(found[hour] ?? 0, HourManifest.revision(of: key) ?? 0)
        }
        return found
    }

    /// Whether an hour behind this one is sealed.
    func isSealed(after hour: SourceHour, of topic: String) throws(StorageError) -> Bool {
        try hasPage(prefix: "\(topic)/year=", after: "\(topic)/\(hour.next.path)") { page in
            page.objects.contains { HourManifest.revision(of: $0.key) != nil }
        }
    }

    /// The first hour that a topic has anything of, since there have been rows to decode; nil where it has nothing.
    func firstHour(of topic: String) throws(StorageError) -> SourceHour? {
        var first: SourceHour?
        // A page may be empty and not be the last one.
        _ = try hasPage(prefix: "\(topic)/year=", after: "\(topic)/\(SourceHour.beginning.path)", max: 1) { page in
            first = page.objects.first.flatMap { SourceHour(key: $0.key, topic: topic) }
            return first != nil
        }
        return first
    }

    private func forEachKey(
        of topic: String, from first: SourceHour?, _ body: (SourceHour, String) -> Void
    ) throws(StorageError) {
        // Hours sort by their paths; what is before the first hour is passed over by the store.
        try forEachPage(prefix: "\(topic)/year=", after: first.map { "\(topic)/\($0.path)" }) { page in
            for object in page.objects {
                if let hour = SourceHour(key: object.key, topic: topic) { body(hour, object.key) }
            }
        }
    }

    /// One hour.
    func hour(_ hour: SourceHour, of topic: String) throws(StorageError) -> Hour {
        var found = Hour()
        try forEachPage(prefix: HourManifest.prefix(topic: topic, hour: hour)) { page in
            for object in page.objects { see(object.key, topic, in: &found) }
        }
        return found
    }

    private func forEachPage(
        prefix: String, after start: String? = nil, delimited: Bool = false, _ body: (ListPage) -> Void
    ) throws(StorageError) {
        _ = try hasPage(prefix: prefix, after: start, delimited: delimited) { page in
            body(page)
            return false
        }
    }

    /// Asks for page after page until one is what is looked for.
    private func hasPage(
        prefix: String, after start: String?, delimited: Bool = false, max: Int = 1000, _ isFound: (ListPage) -> Bool
    ) throws(StorageError) -> Bool {
        var continuation: ListContinuation?
        repeat {
            let page = try store.list(
                prefix: prefix, startAfter: start, delimited: delimited, max: max, continuing: continuation)
            if isFound(page) { return true }
            continuation = page.next
        } while continuation != nil
        return false
    }

    private func see(_ key: String, _ topic: String, in hour: inout Hour) {
        if let revision = HourManifest.revision(of: key) {
            hour.revision = max(hour.revision, revision)
        } else if ObjectName(key: key, topic: topic) != nil {
            hour.keys.append(key)
        }
    }

    /// A manifest that is there; nil where it is not, or is not one of ours.
    func manifest(_ topic: String, _ hour: SourceHour, revision: Int) throws(StorageError) -> HourManifest.Summary? {
        var bytes: [UInt8] = []
        do throws(StorageError) {
            try store.get(HourManifest.key(topic: topic, hour: hour, revision: revision)) { piece in
                for index in piece.indices { bytes.append(piece[index]) }
                return bytes.count < 64 << 20
            }
        } catch {
            guard error.kind == .notFound else { throw error }
            return nil
        }
        return HourManifest.Summary(json: bytes)
    }

    /// The objects of an hour with what their metadata says.
    func entries(_ keys: [String], of topic: String) throws(StorageError) -> [HourManifest.Entry] {
        var entries: [HourManifest.Entry] = []
        for key in keys {
            guard let name = ObjectName(key: key, topic: topic), let info = try store.head(key) else {
                throw StorageError(.transient, "head", key: key, "the object was listed and is gone")
            }
            guard let object = StoredObject(metadata: info.metadata) else {
                throw .noMetadata(key)
            }
            entries.append(.init(key: key, partition: name.partition, size: info.size, object: object))
        }
        return entries
    }
}
