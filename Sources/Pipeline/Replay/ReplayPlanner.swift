import ChangeData
import Dates
import Postgres

/// Turns what a user asks for into a range, or says what can be had instead.
struct ReplayPlanner {
    /// Of the live stream.
    let settings: StreamSettings
    let services: StreamServices
    /// Where the live stream is.
    let live: StoredPosition
    let request: ReplayRequest
    /// The name of the slot's copy that is read for it.
    let copy: String

    private enum Failure: Error {
        case postgres(PostgresError)
        case exit(AgentExit)
    }

    /// The range.
    /// - Throws: exit 3 where the window does not hold it, 69 where the server does not let us look.
    func plan() throws(AgentExit) -> ReplayRange {
        do throws(Failure) {
            var scan = try postgres { () throws(PostgresError) in
                try ReplayScan(settings, services: services, copy: copy)
            }
            switch request.from {
            case .lsn(let from): return try plan(from: from, &scan)
            case .time(let time): return try plan(from: time, &scan)
            }
        } catch {
            switch error {
            case .postgres(let error): throw CommandErrors.exit(error)
            case .exit(let exit): throw exit
            }
        }
    }

    /// What to say where a replay, begun before, can no longer go on.
    func refuse(resumingAt lsn: LSN, window: LSN) -> AgentExit {
        refusal(
            "the replay would go on at \(lsn), before the replay window", window,
            from: oldest(in: window).map { "commits after \(text($0.time))" })
    }

    private func plan(from: LSN, _ scan: inout ReplayScan) throws(Failure) -> ReplayRange {
        if from < scan.window {
            throw .exit(try refusal("the replay would begin at \(from), before the replay window", &scan))
        }
        if from > live.lsn {
            throw .exit(
                try refusal("the replay would begin at \(from), behind what the live stream has published", &scan))
        }
        guard case .time(let time) = request.to else { return ReplayRange(from: from, to: try end(&scan)) }
        try start(&scan, at: from)
        return ReplayRange(from: from, to: try first(atOrAfter: time, &scan) ?? live.lsn)
    }

    /// A mark of the window says that all that was committed after its time is behind its position. Without one the first
    /// transaction of the window must have been committed before the time: else others may have been, that are gone.
    private func plan(from time: Int64, _ scan: inout ReplayScan) throws(Failure) -> ReplayRange {
        let window = scan.window
        let to: LSN? = if case .time = request.to { nil } else { try end(&scan) }
        let known = live.marks.last { $0.time <= time && $0.lsn >= window }
        try start(&scan, at: known?.lsn ?? window)
        var head = try next(&scan)
        if known == nil, head.map({ $0.commitTime > time }) ?? true {
            let since = head.map { "first commit \(text($0.commitTime))" } ?? "nothing was committed since"
            // Without a commit nobody knows when the window began.
            let place = head == nil ? "and the replay window holds no commit" : "before the replay window"
            throw .exit(
                refusal(
                    "the replay would begin at \(text(time)), \(place)", window,
                    from: oldest(in: window).map { "commits after \(text($0.time))" } ?? since))
        }
        while let next = head, next.commitTime < time { head = try self.next(&scan) }
        let from = head?.commitLSN ?? live.lsn
        if let to { return ReplayRange(from: min(from, to), to: to) }
        guard case .time(let end) = request.to, let head, head.commitTime < end else {
            return ReplayRange(from: from, to: from)
        }
        return ReplayRange(from: from, to: try first(atOrAfter: end, &scan) ?? live.lsn)
    }

    private func end(_ scan: inout ReplayScan) throws(Failure) -> LSN {
        guard case .lsn(let to) = request.to else { return live.lsn }
        if to > live.lsn {
            throw .exit(try refusal("the replay would end at \(to), behind what the live stream has published", &scan))
        }
        return to
    }

    // MARK: Looking

    private func start(_ scan: inout ReplayScan, at lsn: LSN) throws(Failure) {
        do throws(PostgresError) { try scan.start(settings, copy: copy, at: lsn) } catch { throw .postgres(error) }
    }

    private func next(_ scan: inout ReplayScan) throws(Failure) -> TransactionHead? {
        do throws(PostgresError) { return try scan.next(before: live.lsn) } catch { throw .postgres(error) }
    }

    private func first(atOrAfter time: Int64, _ scan: inout ReplayScan) throws(Failure) -> LSN? {
        while let head = try next(&scan) { if head.commitTime >= time { return head.commitLSN } }
        return nil
    }

    private func postgres<T: ~Copyable>(_ body: () throws(PostgresError) -> T) throws(Failure) -> T {
        do throws(PostgresError) { return try body() } catch { throw .postgres(error) }
    }

    // MARK: Refusing

    /// The oldest mark in the window: everything that was committed after its time can be had.
    private func oldest(in window: LSN) -> ReplayWindow.Mark? { live.marks.first { $0.lsn >= window } }

    /// With the time of the window's begin: a mark's, else that of its first transaction.
    private func refusal(_ message: String, _ scan: inout ReplayScan) throws(Failure) -> AgentExit {
        let window = scan.window
        if let mark = oldest(in: window) {
            return refusal(message, window, from: "commits after \(text(mark.time))")
        }
        try start(&scan, at: window)
        let head = try next(&scan)
        return refusal(
            message, window, from: head.map { "first commit \(text($0.commitTime))" } ?? "nothing was committed since")
    }

    private func refusal(_ message: String, _ window: LSN, from: String?) -> AgentExit {
        let last = live.commitTime > 0 ? " (last commit \(text(live.commitTime)))" : ""
        return AgentExit(
            .gap, message,
            details: [
                "kind: outside-replay-window",
                "can be had: from \(window)\(from.map { " (\($0))" } ?? "") to \(live.lsn)\(last)",
            ],
            hints: [
                "sluice replay --from-lsn \(window) --topic-prefix \(request.topicPrefix)",
                "a larger postgres.replay_window keeps more, from then on",
            ])
    }

    private func text(_ time: Int64) -> String { ISOTime.text(microseconds: time) }
}
