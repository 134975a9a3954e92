package import ChangeData

/// What follows where the name of our object is taken, or where it is not known whether our put arrived (C5).
package enum ClaimDecision: Equatable, Sendable {
    /// The object there is ours: it arrived.
    case ours
    /// Another worker wrote it, of the same records: ours is dropped, and we go on after its end.
    case follow(StoredObject)
    /// It is not of the same records.
    case conflict(String)

    /// What we meant to write, or are gathering.
    package struct Claim: Equatable, Sendable {
        package var start: Int64
        package var firstPosition: RecordPosition
        /// Only of a complete object.
        package var end: Int64?
        package var sha256: String?

        package init(start: Int64, firstPosition: RecordPosition, end: Int64? = nil, sha256: String? = nil) {
            self.start = start
            self.firstPosition = firstPosition
            self.end = end
            self.sha256 = sha256
        }
    }

    /// - Parameter found: nil where the object has no metadata of ours.
    package static func judge(_ claim: Claim, found: StoredObject?) -> ClaimDecision {
        guard let found else { return .conflict("it has no metadata of sluice") }
        guard found.start == claim.start else {
            return .conflict("it says that it starts at offset \(found.start)")
        }
        // The same log has the same record at an offset for ever.
        guard found.firstPosition == claim.firstPosition else {
            return .conflict(
                "its first record has position \(found.firstPosition.text), "
                    + "the topic's at that offset \(claim.firstPosition.text)")
        }
        guard let end = claim.end, end == found.end else { return .follow(found) }
        guard found.sha256 == claim.sha256 else {
            return .conflict("it holds other bytes of the same offsets \(found.start) to \(found.end)")
        }
        return .ours
    }
}
