import ChangeData

/// Whether a partition's log is still the one that its objects were made of.
///
/// Kafka does not say that a topic was deleted and made again: the consumer goes on at the old offset of the new log, and what lies before
/// it would be in no object. So the record that was read last is read once more, after an assignment and, however often that was done,
/// before the first record that comes after a while without any: and it has to be the same one.
struct LogContinuity {
    /// A record, by where it is in the log and in the stream.
    struct Landmark: Equatable {
        /// Its offset.
        var offset: Int64
        /// What its header says.
        var position: RecordPosition
    }

    /// What was there in the place of the record that was looked for.
    enum Finding: Equatable {
        case same
        /// A later record: the one that was looked for is not shown.
        case later
        case another
    }

    /// After so long without a record the last one is looked for again, nanoseconds: a topic that was deleted and made again has shown
    /// nothing meanwhile.
    private static let quiet: Int64 = .seconds(1)

    /// What the next record has to be; nil where it may be any.
    private(set) var expected: Landmark?
    /// Where to go on once that is known; nil where it was asked at the assignment.
    private(set) var next: Int64?
    /// The offset of the record that was looked for last.
    private var checked: Int64 = -1
    /// After so long it is looked for again. Longer each time: where a record takes its time to come although the one before it has just
    /// been shown, as over a slow line, it is taken in the end.
    private var patience = quiet
    /// When a record was taken last, monotonic nanoseconds.
    private var takenAt: Int64

    /// - Parameter now: monotonic nanoseconds.
    init(now: Int64) { takenAt = now }

    /// Whether the next record has to be one that is known already.
    var isChecking: Bool { expected != nil }

    /// Whether nothing came for so long that the last record is to be looked for.
    func isDue(now: Int64) -> Bool { now &- takenAt > Self.quiet }

    /// A record is taken, or the consumer was brought to the next one.
    mutating func read(now: Int64) { takenAt = now }

    /// The next record has to be this one, the last of the object before; nil: it may be any.
    mutating func begin(with known: Landmark?) { expected = known }

    /// Looks for the last record again, unless that is under way, or was done just now.
    /// - Parameters:
    ///   - next: the offset that would be read now.
    ///   - vanished: the topic was seen not to exist: what is found under its name from now on may be another log.
    /// - Returns: the offset to read instead; nil where none is to be.
    mutating func look(for known: Landmark?, before next: Int64, now: Int64, vanished: Bool = false) -> Int64? {
        guard expected == nil, let known, known.offset < next else { return nil }
        if known.offset == checked, !vanished {
            guard now &- takenAt > patience else { return nil }
            patience = patience &* 2
        } else {
            patience = Self.quiet
        }
        expected = known
        self.next = next
        return known.offset
    }

    /// The log does not hold that record any more, but still all that is to be read.
    mutating func skip() {
        checked = expected?.offset ?? checked
        drop()
    }

    /// Another place is read: what was looked for is of no matter there.
    mutating func drop() {
        expected = nil
        next = nil
    }

    /// The next record is shown, where `expected` is known.
    mutating func meet(_ found: Landmark) -> Finding {
        guard let known = expected else { return .same }
        drop()
        guard found == known else { return found.offset > known.offset ? .later : .another }
        checked = known.offset
        return .same
    }
}

extension Segment {
    /// Its last record.
    var landmark: LogContinuity.Landmark { .init(offset: facts.end, position: facts.lastPosition) }
}

extension ResumeDecision.Last {
    /// The object's last record.
    var landmark: LogContinuity.Landmark { .init(offset: end, position: lastPosition) }
}
