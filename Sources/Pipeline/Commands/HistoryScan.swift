import ChangeData
import Postgres

/// What a session of the stream sees when it begins, for commands: they read it through a copy of the slot, while no agent streams.
enum HistoryScan {
    /// Why the stream may not go on; nil if it may, or where an agent streams, which sees for itself.
    static func refusal(
        _ stored: StoredPosition, _ facts: StartFacts, _ settings: StreamSettings, _ services: StreamServices
    ) throws(PostgresError) -> StartRefusal? {
        guard let slot = facts.slot, slot.holder == nil,
            HistoryCheck(stored, confirmed: slot.confirmedFlush) != nil
        else { return nil }
        let copy = "\(settings.slot.prefix(57))_check"
        var scan = try ReplayScan(settings, services: services, copy: copy)
        // An agent may have moved the slot since it was looked at.
        guard var history = HistoryCheck(stored, confirmed: scan.window) else { return nil }
        try scan.start(settings, copy: copy, at: HistoryCheck.start(stored))
        var result = HistoryCheck.Result.fits
        while result == .fits {
            guard let head = try scan.next(before: history.end) else {
                result = history.sent(upTo: history.end)
                break
            }
            result = history.began(head)
            // From 15 on none is sent without a change.
            if result == .fits, scan.serverVersion >= 150_000 { result = history.changed() }
        }
        guard result == .differs else { return nil }
        return StartRefusal.otherHistory(stored, available: slot.confirmedFlush, now: facts.clock)
    }
}
