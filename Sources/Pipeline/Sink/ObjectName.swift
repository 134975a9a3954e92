import Dates
import Kafka
package import ObjectStorage

/// Where an object of a partition stands in the store, below its prefix (design, section 2):
/// `<topic>/year=YYYY/month=MM/day=DD/hour=HH/<topic>+<partition>+<start offset>.json[.lz4|.gz]`
package struct ObjectName: Equatable, Sendable {
    package var topic: String
    package var partition: Int32
    package var start: Int64

    package init(topic: String, partition: Int32, start: Int64) {
        self.topic = topic
        self.partition = partition
        self.start = start
    }

    /// Its key: the same for the same first record, whoever writes it. That is what the conditional write needs.
    package func key(hour: SourceHour, _ compression: Compression) -> String {
        "\(topic)/\(hour.path)/\(topic)+\(partition)+\(padded(start, 10)).json\(compression.suffix)"
    }

    /// Reads a key of `topic`; nil for anything that the sink does not write.
    package init?(key: String, topic: String) {
        let name = key.utf8.lastIndex(of: UInt8(ascii: "/")).map { key[key.utf8.index(after: $0)...] } ?? key[...]
        guard name.hasPrefix(topic) else { return nil }
        let parts = name.dropFirst(topic.count).split(separator: "+", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].isEmpty, let partition = Int32(parts[1]), partition >= 0 else { return nil }
        let pieces = parts[2].split(separator: ".", maxSplits: 1)
        guard pieces.count == 2, pieces[0].utf8.count >= 10, let start = Int64(pieces[0]), start >= 0,
            Compression.allCases.contains(where: { pieces[1] == "json\($0.suffix)" })
        else { return nil }
        self.init(topic: topic, partition: partition, start: start)
    }
}

/// Which object of each partition is the last one, from a listing that is seen page by page: the one with the highest start
/// offset. Not the one in the newest hour: a commit time that went back left later ranges in older hours.
package struct LastObjects: Equatable, Sendable {
    package let topic: String
    /// By partition: start offset and key.
    package private(set) var found: [Int32: (start: Int64, key: String)] = [:]

    package init(topic: String) { self.topic = topic }

    package mutating func see(_ key: String) {
        guard let name = ObjectName(key: key, topic: topic) else { return }
        if let known = found[name.partition], known.start >= name.start { return }
        found[name.partition] = (name.start, key)
    }

    package static func == (one: LastObjects, other: LastObjects) -> Bool {
        one.topic == other.topic && one.found.count == other.found.count
            && one.found.allSatisfy { other.found[$0.key].map { [value = $0.value] in $0 == value } ?? false }
    }
}
