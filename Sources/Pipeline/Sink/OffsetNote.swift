import ChangeData
import Telemetry

/// The text beside a partition's committed offset: names its last object, so that the next worker need not list the store.
///
/// It is written only after the object is durable. What it says of the object beyond the key serves where the object itself
/// is gone, by a rule of the store's that removes old objects.
package struct OffsetNote: Equatable, Sendable {
    /// The last object; nil where the partition has none, and the log up to the offset had no record.
    package var last: ResumeDecision.Last?
    package var mark: RecordMark?
    package var watermark: Int64?
    /// Offsets behind the last object that somebody has given up: the next object will have them on record.
    package var gap: ClosedRange<Int64>?
    /// Hours with an object of the partition that may be in no manifest yet: whoever has the partition next sees to it.
    package var unsealed: HourSet
    /// Which store: the pin's identifier of the topic, and a digest of where the store is.
    package var pin: String
    package var store: String

    package init(
        last: ResumeDecision.Last?, mark: RecordMark? = nil, watermark: Int64? = nil, gap: ClosedRange<Int64>? = nil,
        unsealed: HourSet = HourSet(), pin: String, store: String
    ) {
        self.last = last
        self.mark = mark
        self.watermark = watermark
        self.gap = gap
        self.unsealed = unsealed
        self.pin = pin
        self.store = store
    }

    /// One line of JSON. No part of it can hold a quote: a key is a topic's name and numbers.
    package var json: String {
        var text = #"{"v":1,"pin":"\#(pin)","store":"\#(store)""#
        if let last {
            text += #","object":"\#(last.key)","end":\#(last.end),"last_pos":"\#(last.lastPosition.text)""#
        }
        if let mark { text += #","mark":"\#(mark.text)""# }
        if let watermark { text += #","watermark":\#(watermark)"# }
        if let gap { text += #","gap":[\#(gap.lowerBound),\#(gap.upperBound)]"# }
        if !unsealed.isEmpty { text += #","unsealed":[\#(unsealed.bounds.map(String.init).joined(separator: ","))]"# }
        return text + "}"
    }

    /// nil for anything but what `json` writes.
    package init?(json: String) {
        guard let value = JSONValue(parsing: Array(json.utf8)), value["v"]?.integer == 1,
            let pin = value["pin"]?.string, let store = value["store"]?.string
        else { return nil }
        if let key = value["object"]?.string {
            guard let end = value["end"]?.integer, end >= 0, end < Int64.max,
                let position = value["last_pos"]?.string.flatMap(RecordPosition.init(text:))
            else { return nil }
            last = ResumeDecision.Last(key: key, end: end, lastPosition: position)
        }
        mark = value["mark"]?.string.flatMap(RecordMark.init(text:))
        watermark = value["watermark"]?.integer
        if let bounds = value["gap"]?.array?.map(\.integer), bounds.count == 2, let first = bounds[0],
            let last = bounds[1], first <= last
        {
            gap = first...last
        }
        unsealed = HourSet(bounds: value["unsealed"]?.array?.compactMap(\.integer) ?? []) ?? HourSet()
        self.pin = pin
        self.store = store
    }
}
