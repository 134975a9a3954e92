import ObjectStorage
import Synchronization

/// Whether a directory still is the store that it was: what is unmounted leaves an empty directory behind, and objects would go there.
///
/// Each topic's pin has an identifier of its own. The one that this process saw first has to stay: it is looked for before and after
/// each object and manifest. A bucket does not go away so; of buckets nothing is noted.
final class StoreWitness: Sendable {
    private let pins = Mutex<[String: String]>([:])

    /// A topic's pin, as it was found or made.
    func saw(_ pin: TopicPin, of topic: String, in location: StoreLocation) {
        guard case .file = location else { return }
        pins.withLock { pins in
            if pins[topic] == nil { pins[topic] = pin.id }
        }
    }

    /// - Throws: `transient` where the pin is gone, or is another one.
    func check(_ topic: String, in store: ObjectStore) throws(StorageError) {
        guard let id = pins.withLock({ $0[topic] }) else { return }
        guard try TopicPin.read(of: topic, in: store)?.id != id else { return }
        throw StorageError(
            .transient, "put", key: TopicPin.key(topic),
            "it is not there any more: the directory is not the one that it was",
            hint: "mount the file system again; where the directory was emptied on purpose, start the agent anew")
    }
}
