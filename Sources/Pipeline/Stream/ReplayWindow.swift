package import ChangeData

/// `postgres.replay_window`: how far the slot is held back behind what Kafka holds, so that `sluice replay` can start in
/// the past. A decision without a socket or a clock.
///
/// Bytes need no memory: the slot may stand anywhere, so it stands that far behind. An age needs marks: which position Kafka
/// held when. They are few (one for each eighth of the window), and travel in the progress record, so that the window goes on
/// over restarts: without them an agent that is restarted more often than the window is long would never release any WAL.
package struct ReplayWindow: Equatable, Sendable {
    /// That Kafka held everything before `lsn` at `time`: what was committed later is behind it.
    package struct Mark: Equatable, Sendable {
        package var lsn: LSN
        /// Microseconds since 1970, by the agent's clock.
        package var time: Int64

        package init(lsn: LSN, time: Int64) {
            self.lsn = lsn
            self.time = time
        }
    }

    /// Microseconds; 0: not by age.
    package let age: Int64
    /// Bytes of WAL; 0: not by bytes.
    package let bytes: UInt64
    /// Marks that are kept at most, whatever the window was before.
    private static let most = 32

    /// Nil where nothing is to be held back.
    package init?(age: Int64, bytes: UInt64) {
        guard age > 0 || bytes > 0 else { return nil }
        self.age = max(0, age)
        self.bytes = bytes
    }

    /// Up to where the slot may be confirmed, all of it held by Kafka; nil: no further than it is.
    ///
    /// The window ends at whichever of the two bounds is reached first.
    package func release(durable: LSN, marks: [Mark], now: Int64) -> LSN? {
        var released: LSN?
        if age > 0 { released = marks.last { $0.time <= now - age }?.lsn }
        if bytes > 0, durable.rawValue > bytes { released = max(released ?? LSN(0), LSN(durable.rawValue - bytes)) }
        return released.map { min($0, durable) }
    }

    /// The marks once Kafka holds everything before `lsn`: a new one where the last is old or far enough, and none of those
    /// that the window has passed, but the one it ends at.
    ///
    /// Where the last is more than the window ahead of now, the clock was wrong when it was made. No mark would be due until then, and
    /// nothing released, over restarts too: so all that are ahead get the time that it is. Kafka holds what they say by now.
    package func marks(_ marks: [Mark], passing lsn: LSN, now: Int64) -> [Mark] {
        var marks = marks
        if let last = marks.last, last.time - age > now {
            for index in marks.indices { marks[index].time = min(marks[index].time, now) }
        }
        if isDue(after: marks.last, lsn, now) { marks.append(Mark(lsn: lsn, time: max(now, marks.last?.time ?? now))) }
        let released = release(durable: lsn, marks: marks, now: now) ?? LSN(0)
        if let end = marks.lastIndex(where: { $0.lsn <= released }) { marks.removeFirst(end) }
        // Leaving one out holds more back, never less.
        if marks.count > Self.most { marks.remove(at: 1) }
        return marks
    }

    private func isDue(after last: Mark?, _ lsn: LSN, _ now: Int64) -> Bool {
        guard let last else { return true }
        guard lsn > last.lsn else { return false }
        return (age > 0 && now - last.time >= age / 8) || (bytes > 0 && lsn.rawValue - last.lsn.rawValue >= bytes / 8)
    }
}
