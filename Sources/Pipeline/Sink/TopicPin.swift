package import ObjectStorage
import Telemetry

/// `<topic>/_sluice.json`: how a topic's objects are laid out and packed, written once. Where two workers disagree, the names of
/// their objects would differ, and a conditional write would protect nothing.
package struct TopicPin: Equatable, Sendable {
    /// The only layout there is.
    package static let layout = "year=YYYY/month=MM/day=DD/hour=HH"

    package var layout: String
    package var compression: String
    /// Made with the pin: tells a store from another one of the same name.
    package var id: String

    package init(layout: String = TopicPin.layout, compression: String, id: String) {
        self.layout = layout
        self.compression = compression
        self.id = id
    }

    package static func key(_ topic: String) -> String { "\(topic)/_sluice.json" }

    /// nil where there is none.
    static func read(of topic: String, in store: ObjectStore) throws(StorageError) -> TopicPin? {
        var bytes: [UInt8] = []
        do throws(StorageError) {
            try store.get(key(topic)) { piece in
                for index in piece.indices where bytes.count < 4096 { bytes.append(piece[index]) }
                return bytes.count < 4096
            }
        } catch {
            if error.kind == .notFound { return nil }
            throw error
        }
        guard let pin = TopicPin(json: bytes) else {
            throw StorageError(
                .malformed, "get", key: key(topic), "this is not what sluice writes there",
                hint:
                    "put it back, or delete it: where s3.compression is that of the topic's objects, it is made anew, "
                    + "and they are listed once")
        }
        return pin
    }

    package var json: String {
        #"{"v":1,"layout":"\#(layout)","compression":"\#(compression)","id":"\#(id)"}"# + "\n"
    }

    package init?(json: [UInt8]) {
        guard let value = JSONValue(parsing: json), value["v"]?.integer == 1, let layout = value["layout"]?.string,
            let compression = value["compression"]?.string, let id = value["id"]?.string,
            id.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) })
        else { return nil }
        self.init(layout: layout, compression: compression, id: id)
    }

    /// Why a worker with this configuration may not write the topic; nil where it may.
    package func refusal(topic: String, compression wanted: Compression, store: String) -> AgentExit? {
        let key = "\(store)/\(Self.key(topic))"
        guard layout == Self.layout else {
            return AgentExit(
                .configuration, "topic \(topic) is laid out as \(layout) in \(store), by another version of sluice",
                details: ["pinned in \(key)"], hints: ["use that version, or another prefix in s3.url"])
        }
        guard compression == wanted.rawValue else {
            return AgentExit(
                .configuration,
                "s3.compression is \(wanted.rawValue), but the objects of topic \(topic) are \(compression)",
                details: ["pinned in \(key)"],
                hints: [
                    "set s3.compression: \(compression)",
                    "or begin a new prefix in s3.url (the topic is then written again from its start)",
                ])
        }
        return nil
    }
}
