package import ChangeData

/// When an object is complete.
package struct SegmentPolicy: Equatable, Sendable {
    /// Bytes of an object as it is stored, compressed.
    package var bytes: Int
    /// Nanoseconds since its first record was read.
    package var age: Int64

    package init(bytes: Int, age: Int64) {
        self.bytes = bytes
        self.age = age
    }

    /// Why an object ended.
    package enum Reason: String, Equatable, Sendable {
        case hour, epoch, bytes, age, pressure, revoked, shutdown
    }

    /// Why a record may not go into the open object; nil where it may. In either direction, another hour is another object; and
    /// so is another epoch, so that the positions of one object compare.
    package func refusal(
        of position: RecordPosition, into hour: SourceHour, of epoch: UInt32
    ) -> Reason? {
        if SourceHour(ofMicroseconds: position.commitTime) != hour { return .hour }
        return position.position.epoch == epoch ? nil : .epoch
    }

    /// Asked after records were taken, and now and then.
    /// - Parameters:
    ///   - stored: bytes that the object will have, as far as is known.
    ///   - limit: a smaller bound than `bytes` while the disk is short.
    ///   - isWaiting: an object of the partition still waits to be put: another one would not be there sooner.
    package func ended(stored: Int, limit: Int, openedAt: Int64, now: Int64, isWaiting: Bool) -> Reason? {
        if stored >= bytes { return .bytes }
        if stored >= limit { return .pressure }
        if now &- openedAt >= age, !isWaiting { return .age }
        return nil
    }
}

/// How large an object may grow while the disk is full: half of what it could not hold, and twice as much after each that
/// could be put. The smallest ones need no disk at all.
package struct SegmentLimit: Equatable, Sendable {
    /// What fits into memory.
    package static let least = 64 << 10
    package private(set) var bytes = Int.max

    package init() {}

    /// The disk was full when an object had so many bytes.
    package mutating func failed(at size: Int) { bytes = max(Self.least, min(bytes, size) / 2) }

    /// An object of so many bytes was put.
    package mutating func succeeded(with size: Int) {
        guard bytes != .max, size >= bytes / 2 else { return }
        bytes = bytes > 1 << 40 ? .max : bytes * 2
    }
}

/// How much smaller compression makes the records: what is known of an object before it is compressed.
package struct PackingRatio: Equatable, Sendable {
    private var raw = 0.0
    private var stored = 0.0

    package init() {}

    /// 1 before anything is known, so that the first objects are rather too small than too large.
    package func stored(of bytes: Int) -> Int {
        raw > 0 ? Int(Double(bytes) * min(1, stored / raw)) : bytes
    }

    /// An object was packed. Older ones count less.
    package mutating func saw(raw: Int, stored: Int) {
        self.raw = self.raw * 0.75 + Double(raw)
        self.stored = self.stored * 0.75 + Double(stored)
    }
}
