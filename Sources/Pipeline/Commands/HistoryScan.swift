import ChangeData
import Postgres

/// What a session of the stream sees when it begins, for commands: they read it through a copy of the slot, while no agent streams.
enum HistoryScan {
    enum Outcome {
        /// Nothing is against going on, as far as could be seen; where an agent streams, it sees for itself.
        case fits
        /// Why the stream may not go on.
        case differs(StartRefusal)
        /// It could not be seen: `run`, which needs no second slot, will see.
        case notCompared(Finding)
    }

    static func judge(
        _ stored: StoredPosition, _ facts: StartFacts, _ settings: StreamSettings, _ services: StreamServices
    ) throws(PostgresError) -> Outcome {
        guard let slot = facts.slot, slot.holder == nil,
            HistoryCheck(stored, confirmed: slot.confirmedFlush) != nil
        else { return .fits }
        let copy = "\(settings.slot.prefix(57))_check"
        var scan: ReplayScan
        do throws(PostgresError) {
            scan = try ReplayScan(settings, services: services, copy: copy)
        } catch {
            guard let why = reason(error) else { throw error }
            return .notCompared(
                Finding(.warning, "history", "the server's was not compared with Kafka's: \(why); sluice run does it"))
        }
        // An agent may have moved the slot since it was looked at.
        guard var history = HistoryCheck(stored, confirmed: scan.window) else { return .fits }
        try scan.start(settings, copy: copy, at: HistoryCheck.start(stored))
        var result = HistoryCheck.Result.fits
        while result == .fits {
            let head = try scan.next(before: history.end)
            result = history.message(endingAt: scan.lastMessage)
            if result == .differs { break }
            guard let head else {
                // It was broken off, and has seen nothing: whoever asked has been told to stop.
                if services.stop.isRequested { return .fits }
                result = history.sent(upTo: history.end)
                break
            }
            result = history.began(head)
            // From 15 on none is sent without a change.
            if result == .fits, scan.serverVersion >= 150_000 { result = history.changed() }
        }
        guard result == .differs else { return .fits }
        return .differs(StartRefusal.otherHistory(stored, available: slot.confirmedFlush, now: facts.clock))
    }

    /// Why there can be no copy now; nil for what is no matter of this moment.
    private static func reason(_ error: PostgresError) -> String? {
        if error.sqlState == "53400" { return "that needs a free slot, and all max_replication_slots are in use" }
        return error.kind == .duplicate ? "another command is doing so" : nil
    }
}
