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
}
