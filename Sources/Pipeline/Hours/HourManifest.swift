import ChangeData
import Dates
import Telemetry

/// What seals an hour of a topic (C6): which objects hold it, and what is in them. One JSON value, written once beside the objects
/// as `_manifest-0001.json`; rows that were committed late are sealed by a later revision, which replaces the earlier ones.
package struct HourManifest: Equatable, Sendable {
    /// An object of the hour, with what its metadata says.
    package struct Entry: Equatable, Sendable {
        /// Below the store's prefix.
        package var key: String
        package var partition: Int32
        /// Bytes as stored.
        package var size: Int64
        package var object: StoredObject

        package init(key: String, partition: Int32, size: Int64, object: StoredObject) {
            self.key = key
            self.partition = partition
            self.size = size
            self.object = object
        }
    }

    /// What a reader needs of a manifest that is in the store.
    package struct Summary: Equatable, Sendable {
        package var revision: Int
        package var records: Int
        package var keys: Set<String>
        /// Objects before which offsets were given up.
        package var gaps = 0
        package var firstPosition: String?
        package var lastPosition: String?
    }

    package var topic: String
    package var hour: SourceHour
    package var revision: Int
    /// The source's clock, of which all was in Kafka when the hour was sealed: microseconds since 1970.
    package var clock: Int64
    package var entries: [Entry]

    package init(topic: String, hour: SourceHour, revision: Int, clock: Int64, entries: [Entry]) {
        self.topic = topic
        self.hour = hour
        self.revision = revision
        self.clock = clock
        self.entries = entries.sorted { ($0.partition, $0.object.start) < ($1.partition, $1.object.start) }
    }

    /// Where it stands: a name with an underscore, which Spark and Hive pass over.
    package static func key(topic: String, hour: SourceHour, revision: Int) -> String {
        "\(prefix(topic: topic, hour: hour))_manifest-\(padded(Int64(revision), 4)).json"
    }

    /// What all keys of an hour begin with.
    package static func prefix(topic: String, hour: SourceHour) -> String { "\(topic)/\(hour.path)/" }

    /// The revision that a key names; nil for a key that is no manifest's.
    package static func revision(of key: String) -> Int? {
        guard let slash = key.lastIndex(of: "/") else { return nil }
        let name = key[key.index(after: slash)...]
        guard name.hasPrefix("_manifest-"), name.hasSuffix(".json") else { return nil }
        // No more digits than are ever counted up to: the next one is this and one more.
        let digits = name.dropFirst("_manifest-".count).dropLast(".json".count)
        return digits.utf8.count <= 9 ? Int(digits) : nil
    }

    package var json: String {
        var json = JSONText(escaping: .connect)
        json.object { manifest in
            manifest.member("v", 1)
            manifest.member("topic", topic)
            manifest.member("hour", ISOTime.text(microseconds: hour.start))
            manifest.member("revision", revision)
            manifest.member("clock", ISOTime.text(microseconds: clock))
            manifest.member("records", sum(\.records))
            manifest.member("tombstones", sum(\.tombstones))
            manifest.member("dropped", sum(\.dropped))
            // Positions of different epochs do not compare: the range is that of the log.
            if let first = entries.map(\.object.firstPosition).min(by: { $0.position < $1.position }),
                let last = entries.map(\.object.lastPosition).max(by: { $0.position < $1.position })
            {
                manifest.member("first_pos", first.text)
                manifest.member("last_pos", last.text)
                manifest.member("first_lsn", first.position.commitLSN.description)
                manifest.member("last_lsn", last.position.commitLSN.description)
            }
            manifest.objects("objects", of: entries) { json, entry in
                let object = entry.object
                json.member("key", entry.key)
                json.member("partition", entry.partition)
                json.member("start", object.start)
                json.member("end", object.end)
                json.member("records", object.records)
                json.member("tombstones", object.tombstones)
                json.member("first_pos", object.firstPosition.text)
                json.member("last_pos", object.lastPosition.text)
                json.member("size", entry.size)
                json.member("sha256", object.sha256)
                if let gap = object.gap { json.member("gap", gap) }
            }
        }
        return json.text + "\n"
    }

    private func sum(_ field: KeyPath<StoredObject, Int>) -> Int {
        entries.reduce(0) { $0 + $1.object[keyPath: field] }
    }
}

extension HourManifest.Summary {
    /// Reads what `json` wrote; nil for anything else.
    package init?(json: [UInt8]) {
        guard let root = JSONValue(parsing: json), root["v"]?.integer == 1, let revision = root["revision"]?.integer,
            let records = root["records"]?.integer, let objects = root["objects"]?.array
        else { return nil }
        self.init(
            revision: Int(revision), records: Int(records), keys: Set(objects.compactMap { $0["key"]?.string }),
            gaps: objects.count { $0["gap"] != nil }, firstPosition: root["first_lsn"]?.string,
            lastPosition: root["last_lsn"]?.string)
    }
}
