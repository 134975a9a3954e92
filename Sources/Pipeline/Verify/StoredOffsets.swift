/// What the sink says of a partition beside the group's offset.
package struct SinkWord: Equatable, Sendable {
    /// What is before it is in the store, or was given up, or is no record.
    package var readTo: Int64
    /// The object that was put last.
    package var last: ResumeDecision.Last?

    package init(readTo: Int64, last: ResumeDecision.Last?) {
        self.readTo = readTo
        self.last = last
    }
}

/// The offsets of a partition that its objects hold, or that somebody has given up. Asked about in growing order.
package struct StoredOffsets: Equatable {
    private var ranges: [ClosedRange<Int64>] = []
    /// Ranges before it lie behind what was asked for.
    private var at = 0

    package init() {}

    /// The first offset behind the last object.
    package private(set) var next: Int64 = 0

    /// Another object, behind those before it.
    package mutating func add(_ object: StoredObject) {
        // `<first>-<last>`, given up when a position was set by hand.
        if let parts = object.gap?.split(separator: "-"), parts.count == 2, let first = Int64(parts[0]),
            let last = Int64(parts[1]), first <= last
        {
            ranges.append(first...last)
        }
        ranges.append(object.start...object.end)
        next = object.end + 1
    }

    /// Whether an offset lies in one of them; none that was asked for before may be greater.
    package mutating func takes(_ offset: Int64) -> Bool {
        while at < ranges.count, ranges[at].upperBound < offset { at += 1 }
        return at < ranges.count && ranges[at].contains(offset)
    }

    /// Why records are in no object, and in the log no more or never looked at again: nil where that cannot be said.
    /// - Parameter sink: nil where it has said nothing yet.
    package func hole(logStart: Int64, _ sink: SinkWord?) -> String? {
        if let last = sink?.last, last.end >= next { return "\(last.key) was put, and is gone from the store" }
        guard logStart > max(next, sink?.readTo ?? 0) else { return nil }
        return "records between the last object and the log's start are lost"
    }
}
