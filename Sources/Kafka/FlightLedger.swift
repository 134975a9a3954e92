/// What a producer's client has of each partition: the bytes of records that were given to it and not reported on.
///
/// Not copyable state behind a reference, without a lock. Sound as `Sendable` because the thread that owns the producer is the
/// only one that touches it: delivery reports are served in calls of that thread (poll, flush, commit, abort).
final class FlightLedger: @unchecked Sendable {
    private struct Entries {
        /// Bytes from which on the client sends a partition's records without being told to.
        let batch: Int
        var bytes: [Int] = []
        var load = ProducerLoad()

        mutating func change(_ place: Int, bytes change: Int, records: Int) {
            guard bytes.indices.contains(place) else { return }
            let before = bytes[place]
            let after = before &+ change
            bytes[place] = after
            load.bytes &+= change
            load.records &+= records
            if before < batch, after >= batch { load.fullPartitions += 1 }
            if before >= batch, after < batch { load.fullPartitions -= 1 }
        }
    }
    /// One stored property, so that a record costs one checked access.
    private var entries: Entries

    init(batch: Int) { entries = Entries(batch: batch) }

    /// Room for the partitions of one more topic; answers the place of the first.
    func open(partitions: Int32) -> Int {
        let first = entries.bytes.count
        entries.bytes.append(contentsOf: repeatElement(0, count: Int(max(0, partitions))))
        return first
    }

    /// What the client has; of the partition at a place, too.
    func load(at place: Int) -> ProducerLoad {
        var load = entries.load
        if entries.bytes.indices.contains(place) { load.partition = entries.bytes[place] }
        return load
    }

    /// A record was given to the client.
    func given(_ size: Int, at place: Int) { entries.change(place, bytes: size, records: 1) }

    /// A record was delivered or refused, or dropped.
    func reported(_ size: Int, at place: Int) { entries.change(place, bytes: -size, records: -1) }
}

/// What was given to a producer's client and not reported on. Bytes are those of keys and values.
public struct ProducerLoad: Sendable, Equatable {
    /// Bytes of the partition that was asked about. From `batchBytes` on the client sends them by itself; less, not before a
    /// flush or the end of `linger`.
    public internal(set) var partition = 0
    /// Bytes of all partitions.
    public internal(set) var bytes = 0
    /// Records of all partitions.
    public internal(set) var records = 0
    /// Partitions with a batch or more: what is on its way by itself.
    public internal(set) var fullPartitions = 0
}
