import Kafka
import ObjectStorage
import Threads

/// One thread's way to the store: every call is made again until it succeeds, is refused for good, or the sink ends.
///
/// Attempts are counted, logged and shown (R5); while they fail, the agent is not ready.
final class StoreClient {
    private let settings: SinkSettings
    private let services: StreamServices
    private let queue: StoreQueue
    private let store: ObjectStore
    private let storeID: String
    private let witness: StoreWitness
    private let nap = Wakeup()
    private var packer: Packer?
    private var source: StandingFaults.Source { .store(ObjectIdentifier(self)) }

    init(
        _ settings: SinkSettings, _ services: StreamServices, _ queue: StoreQueue, storeID: String,
        _ witness: StoreWitness
    ) throws(StorageError) {
        self.settings = settings
        self.services = services
        self.queue = queue
        self.storeID = storeID
        self.witness = witness
        store = try ObjectStore(settings.store, abort: queue.abort)
    }

    /// Serves jobs until the queue is closed.
    func run() {
        // What was to be tried again is left to the next session.
        defer { services.state.update { $0.sinkFaults.clear(by: source) } }
        while let job = queue.pop() {
            do throws(StorageError) {
                queue.answer(try serve(job))
            } catch  where error.kind == .aborted {
                return
            } catch {
                queue.answer(.failed(.store(error, settings.storeName)))
            }
        }
    }

    private func serve(_ job: StoreJob) throws(StorageError) -> StoreResult {
        switch job {
        case .put(let segment, let generation):
            return .put(segment, generation: generation, try put(segment))
        case .look(let partition, let key, let generation):
            return .looked(partition, key: key, generation: generation, try look(key))
        case .resolve(let topic, let asked):
            let pin = try pin(topic)
            if let refusal = pin.refusal(topic: topic, compression: settings.compression, store: settings.storeName) {
                return .failed(.exit(refusal))
            }
            return try resolve(topic, asked, pin)
        }
    }

    // MARK: Objects

    private func put(_ segment: Segment) throws(StorageError) -> StoreResult.PutOutcome {
        let body: ObjectBody
        do throws(StorageError) {
            if packer == nil, settings.compression != .none { packer = try Packer(settings.compression) }
            body = try segment.body(packer, spoolDirectory: settings.spoolDirectory)
        } catch {
            guard error.operation == "spool" else { throw error }
            return .spoolFull(error)
        }
        guard let object = segment.object else { return .taken(nil, bytes: nil) }
        var attempts = 0
        return try attempt(segment.key) { (store) throws(StorageError) -> StoreResult.PutOutcome in
            let ours = attempts > 0 ? body.length : nil
            attempts += 1
            let topic = segment.partition.topic
            try witness.check(topic, in: store)
            if settings.conditional == .off, let info = try store.head(segment.key) {
                return .taken(StoredObject(metadata: info.metadata), bytes: ours)
            }
            do throws(StorageError) {
                Failpoint.hit(.beforePut)
                let result = try store.put(
                    segment.key, body: body, metadata: object.metadata, contentType: settings.compression.contentType,
                    condition: settings.conditional == .off ? .none : .ifAbsent)
                Failpoint.hit(.afterPut)
                try witness.check(topic, in: store)
                guard case .alreadyExists = result else { return .created(bytes: body.length) }
            } catch {
                // It may be there. If it is not, nothing was changed, and the put is made again.
                guard error.kind == .indefinite else { throw error }
                // What has no metadata of ours may be a page of whatever stands before the store: the next put says what it is.
                guard let info = try store.head(segment.key), let found = StoredObject(metadata: info.metadata) else {
                    throw error
                }
                return .taken(found, bytes: body.length)
            }
            guard let info = try store.head(segment.key) else {
                throw StorageError(.transient, "put", key: segment.key, "the object was there and is gone")
            }
            return .taken(StoredObject(metadata: info.metadata), bytes: ours)
        }
    }

    private func look(_ key: String) throws(StorageError) -> StoreResult.Found {
        let info = try attempt(key) { (store) throws(StorageError) in try store.head(key) }
        guard let info else { return .nothing }
        return .object(StoredObject(metadata: info.metadata))
    }

    // MARK: A topic

    /// The topic's pin; made where there is none.
    private func pin(_ topic: String) throws(StorageError) -> TopicPin {
        let key = TopicPin.key(topic)
        let id = String(UInt64(services.clock.random() * 0x1p63), radix: 36)
        let wanted = TopicPin(compression: settings.compression.rawValue, id: id)
        let pin = try attempt(key) { (store) throws(StorageError) in
            try witness.check(topic, in: store)
            for _ in 0..<2 {
                if let found = try TopicPin.read(of: topic, in: store) { return found }
                let body = ObjectBody.bytes(Array(wanted.json.utf8))
                let condition: PutCondition = settings.conditional == .off ? .none : .ifAbsent
                if case .created = try store.put(key, body: body, condition: condition) {
                    return wanted
                }
            }
            throw StorageError(.transient, "put", key: key, "the object comes and goes")
        }
        witness.saw(pin, of: topic, in: settings.store)
        return pin
    }

    /// The last object of each partition: by the name beside the group's offset, else by a listing of the topic, of which one
    /// serves all partitions that have no name.
    private func resolve(
        _ topic: String, _ asked: [StoreJob.Asked], _ pin: TopicPin
    ) throws(StorageError) -> StoreResult {
        var found: [(asked: StoreJob.Asked, key: String?, object: StoredObject?)] = []
        var unnamed: [StoreJob.Asked] = []
        for one in asked {
            guard let note = one.note, note.store == storeID else {
                unnamed.append(one)
                continue
            }
            if let last = note.last, ObjectName(key: last.key, topic: topic) != nil,
                let object = try stored(last.key)
            {
                found.append((one, last.key, object))
            } else if note.pin == pin.id {
                found.append((one, nil, nil))
            } else {
                unnamed.append(one)
            }
        }
        guard !unnamed.isEmpty else { return .resolved(topic: topic, pin, found) }
        let last = try list(topic)
        for one in unnamed {
            guard let key = last.found[one.partition]?.key else {
                found.append((one, nil, nil))
                continue
            }
            guard let object = try stored(key) else {
                return .failed(.retry(component: "s3", reason: "\(key) was listed and is gone"))
            }
            found.append((one, key, object))
        }
        return .resolved(topic: topic, pin, found)
    }

    /// nil where there is no object.
    private func stored(_ key: String) throws(StorageError) -> StoredObject? {
        guard case .object(let object) = try look(key) else { return nil }
        guard let object else {
            throw .noMetadata(key)
        }
        return object
    }

    private func list(_ topic: String) throws(StorageError) -> LastObjects {
        var last = LastObjects(topic: topic)
        var continuation: ListContinuation?
        var pages = 0
        repeat {
            let next = continuation
            let page = try attempt("\(topic)/") { (store) throws(StorageError) in
                try store.list(prefix: "\(topic)/", continuing: next)
            }
            for object in page.objects { last.see(object.key) }
            continuation = page.next
            pages += 1
            if pages % 20 == 0 {
                services.log.info(
                    "looking for the last objects of a topic", ["topic": .init(topic), "objects": .init(pages * 1000)])
            }
        } while continuation != nil
        return last
    }

    // MARK: Attempts

    private func attempt<T>(
        _ what: String, _ call: (ObjectStore) throws(StorageError) -> T
    ) throws(StorageError) -> T {
        var attempts = 0
        while true {
            do throws(StorageError) {
                let result = try call(store)
                if attempts > 0 { services.state.update { $0.sinkFaults.clear(by: source) } }
                return result
            } catch {
                attempts += 1
                let isRefused = error.kind == .denied
                guard error.kind == .transient || error.kind == .indefinite || isRefused else { throw error }
                // Rights are given back by people: no need to ask each second.
                let policy = RetryPolicy(cap: isRefused ? .seconds(60) : .seconds(20))
                let random = services.clock.random()
                let pause = policy.delay(afterAttempt: attempts, random: random, retryAfter: error.retryAfter)
                let text = error.description
                services.state.failed("s3", kind: error.kind.rawValue)
                services.state.update { snapshot in
                    snapshot.sink.retries += 1
                    if attempts > 1 || isRefused { snapshot.sinkFaults.set(text, by: source) }
                }
                services.log.warning(
                    "the store has failed, another attempt follows",
                    [
                        "object": .init(what), "error": .init(text), "attempt": .init(attempts),
                        "pause": .init(pause ?? .zero),
                    ])
                let wait = (pause ?? .zero) / Duration.milliseconds(1)
                guard queue.nap(nap, milliseconds: Int(wait)) else {
                    throw StorageError(.aborted, error.operation, key: error.key, "ended by a shutdown")
                }
            }
        }
    }
}

extension Compression {
    /// Without a `Content-Encoding`: an HTTP client would unpack by itself what its name says is packed.
    var contentType: String {
        switch self {
        case .none: "application/x-ndjson"
        case .gzip: "application/gzip"
        case .lz4: "application/x-lz4"
        }
    }
}
