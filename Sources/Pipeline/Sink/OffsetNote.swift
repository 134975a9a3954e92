package import ChangeData
import Telemetry

/// The text beside a partition's committed offset: names its last object, so that the next worker need not list the store.
///
/// It is written only after the object is durable. What it says of the object beyond the key serves where the object itself
/// is gone, by a rule of the store's that removes old objects.
package struct OffsetNote: Equatable, Sendable {
    /// The object's key below the store's prefix.
    package var key: String
    package var end: Int64
    package var lastPosition: RecordPosition
    package var mark: RecordMark?
    package var watermark: Int64?
    /// Which store: the pin's identifier of the topic, and a digest of where the store is.
    package var pin: String
    package var store: String

    package init(
        key: String, end: Int64, lastPosition: RecordPosition, mark: RecordMark?, watermark: Int64?, pin: String,
        store: String
    ) {
        self.key = key
        self.end = end
        self.lastPosition = lastPosition
        self.mark = mark
        self.watermark = watermark
        self.pin = pin
        self.store = store
    }

    /// One line of JSON. No part of it can hold a quote: a key is a topic's name and numbers.
    package var json: String {
        var text = #"{"v":1,"object":"\#(key)","end":\#(end),"last_pos":"\#(lastPosition.text)""#
        if let mark { text += #","mark":"\#(mark.text)""# }
        if let watermark { text += #","watermark":\#(watermark)"# }
        return text + #","pin":"\#(pin)","store":"\#(store)"}"#
    }

    /// nil for anything but what `json` writes.
    package init?(json: String) {
        guard let value = JSONValue(parsing: Array(json.utf8)), value["v"]?.integer == 1,
            let key = value["object"]?.string, let end = value["end"]?.integer, end >= 0,
            let last = value["last_pos"]?.string.flatMap(RecordPosition.init(text:)),
            let pin = value["pin"]?.string, let store = value["store"]?.string
        else { return nil }
        self.init(
            key: key, end: end, lastPosition: last, mark: value["mark"]?.string.flatMap(RecordMark.init(text:)),
            watermark: value["watermark"]?.integer, pin: pin, store: store)
    }
}
