import Kafka
import ObjectStorage
import Telemetry

/// How far Kafka's log of a topic goes, and how far the group has put it into the store.
struct LogEnds {
    private let settings: SinkSettings
    private let services: StreamServices
    /// As long as there are hours to seal.
    private var admin: KafkaAdmin?
    private let unproven = LogThrottle(every: .seconds(600))

    init(_ settings: SinkSettings, _ services: StreamServices) {
        self.settings = settings
        self.services = services
    }

    /// The first offset of each partition, and the one behind the last.
    mutating func ends(of topic: String) throws(SinkFailure) -> [TopicPartition: (low: Int64, high: Int64)] {
        do throws(KafkaError) {
            let admin = try open()
            var ends: [TopicPartition: (low: Int64, high: Int64)] = [:]
            guard let count = try admin.partitionCount(of: topic, timeout: .seconds(10)) else {
                throw KafkaError(
                    "a broker does not know topic \(topic) yet", operation: "seal", disposition: .retriable)
            }
            let partitions = (0..<count).map { TopicPartition(topic, $0) }
            let bounds = try admin.bounds(of: partitions, timeout: .seconds(10))
            for partition in partitions {
                // Of all of them, or the hour might be sealed without one.
                guard let bounds = bounds[partition] else {
                    throw KafkaError(
                        "a broker does not know \(partition) yet", operation: "seal", disposition: .retriable)
                }
                ends[partition] = (bounds.low, bounds.high)
            }
            return ends
        } catch { throw .kafka(error) }
    }

    /// How far other workers have put partitions, as they say beside the group's offsets.
    ///
    /// An offset without such a word is a stranger's who reads in our group, or was set by hand; one for another store says nothing of
    /// this one. The worker that has the partition tells its own instead (`GroupOffset`).
    mutating func committed(_ partitions: [TopicPartition]) throws(SinkFailure) -> [TopicPartition: Int64] {
        let storeID: String
        do throws(StorageError) { storeID = try settings.store.digest() } catch {
            throw .store(error, settings.storeName)
        }
        do throws(KafkaError) {
            var ours: [TopicPartition: Int64] = [:]
            for offset in try open().committedOffsets(of: settings.group, partitions, timeout: .seconds(10)) {
                let note = offset.metadata.flatMap(OffsetNote.init(json:))
                if note?.store == storeID {
                    ours[offset.partition] = offset.offset
                } else {
                    services.log.log(
                        .warning, "no hour is sealed: the group's offset is not one of a worker for this store",
                        throttle: unproven,
                        [
                            "partition": .init(offset.partition), "store": .init(settings.storeName),
                            "of": .init(note == nil ? "another consumer of the group" : "another store or address"),
                        ])
                }
            }
            return ours
        } catch { throw .kafka(error) }
    }

    private mutating func open() throws(KafkaError) -> KafkaAdmin {
        if let admin { return admin }
        let made = try KafkaAdmin(settings.kafka, events: services.kafkaEvents)
        admin = made
        return made
    }

    /// Ends the connections to the brokers; the next question opens them again.
    mutating func close() { admin = nil }
}
