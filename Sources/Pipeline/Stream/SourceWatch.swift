import ChangeData
import Postgres
import Telemetry
import Threads

/// Looks at the slot and the publication from outside, every few seconds, for the metrics and for losses that the stream
/// itself cannot see: a table that was dropped and made again is no longer published, and no row ever comes again (trap 60).
///
/// Each look has a connection of its own: one that stays open would hold up a smart shutdown of the server.
package struct SourceWatch {
    private let settings: StreamSettings
    private let services: StreamServices
    private static let pause = 5000
    /// Milliseconds between two questions whether a standby was promoted.
    private static let promotionPause = 500

    package init(settings: StreamSettings, services: StreamServices) {
        self.settings = settings
        self.services = services
    }

    /// Looks until a stop.
    package func run() {
        let wakeup = Wakeup()
        services.stop.register(wakeup)
        defer { services.stop.unregister(wakeup) }
        var seen: Set<String> = []
        var told: Set<String> = []
        // The catalog is looked at in several questions, and tables come and go: what is wrong is so in two looks.
        var before: [PublicationFault] = []
        var hadPublication = true
        var changes = TableChanges()
        var failedLooks = FailedLooks()
        while !services.stop.isRequested {
            do throws(PostgresError) {
                let session = services.state.snapshot.sessions
                let look = try look()
                if let seconds = failedLooks.succeeded(at: services.clock.monotonic()) {
                    services.log.info("slot and publication are looked at again", ["blind_seconds": .init(seconds)])
                }
                if let snapshot = services.state.looked(look.sight, in: session) {
                    let lost = look.faults.filter { fault in
                        fault.table.map { look.named.contains($0) || seen.contains($0) } ?? true
                    }
                    let sure = lost.filter(before.contains)
                    let isGone = look.publication == nil && !hadPublication
                    if !sure.isEmpty || isGone {
                        let name = isGone ? nil : settings.publication
                        raise { StartRefusal.unpublished(sure, name, stored: $0, available: $1, now: $2) }
                    }
                    (before, hadPublication) = (lost, look.publication != nil)
                    if let now = look.publication { judge(now, since: snapshot.published, hasFaults: !lost.isEmpty) }
                    for change in changes.see(look.wanted) { tell(change) }
                    for table in look.missing where told.insert(table).inserted {
                        services.log.warning("a table of postgres.tables does not exist", ["table": .init(table)])
                    }
                    for fault in look.faults where !lost.contains(fault) && told.insert(fault.text).inserted {
                        services.log.warning(
                            "a table matches postgres.tables, but its changes are not streamed",
                            ["publication": .init(settings.publication), "fault": .init(fault.text)])
                    }
                }
                seen.formUnion(look.published)
                services.state.update { $0.unpublished = look.unpublished.sorted() }
            } catch {
                // Counted: what the metrics say of the slot is as old as this.
                services.state.failed("postgres", kind: "watch")
                if error.kind == .transient, error.sqlState == nil { lookedInVain() }
                if let seconds = failedLooks.failed(at: services.clock.monotonic()) {
                    services.log.warning(
                        "slot and publication cannot be looked at: a table that is no longer published goes unnoticed",
                        ["blind_seconds": .init(seconds), "error": .init(error)])
                } else {
                    services.log.debug("cannot look at the slot", ["error": .init(error)])
                }
            }
            Self.rest(
                onStandby: { services.state.snapshot.isOnStandby },
                isOver: { services.stop.isRequested || isDue() },
                wait: { wakeup.wait(milliseconds: $0) })
        }
    }

    /// Waits for the next look.
    ///
    /// A standby may be promoted under its walsender, which goes on. Until a look has seen that, what the new primary commits is stored
    /// as of the old timeline; and were the agent killed then, it would look at the next start like rows that this server never had. So
    /// the look after a promotion comes soon. What is left: a kill between the first commit of the new primary and the first position that
    /// is stored after that look.
    static func rest(onStandby: () -> Bool, isOver: () -> Bool, wait: (_ milliseconds: Int) -> Void) {
        var left = pause
        while left > 0 {
            guard onStandby() else { return wait(left) }
            wait(min(left, promotionPause))
            if isOver() { return }
            left -= promotionPause
        }
    }

    /// Connects to the server that the stream is of, where there is a stream: of several hosts another may answer.
    private func connect() throws(PostgresError) -> PostgresConnection {
        let snapshot = services.state.snapshot
        let server = snapshot.phase == .streaming ? snapshot.server : nil
        do throws(PostgresError) {
            return try PostgresConnection(connecting: server ?? settings.postgres, timeout: .seconds(5))
        } catch {
            // A proxy may take the connection, and have nobody to give it to.
            if error.kind == .timedOut { lookedInVain() }
            throw error
        }
    }

    private func lookedInVain() {
        let now = services.clock.monotonic()
        services.state.update { $0.lookedInVain(at: now) }
    }

    /// Whether the server is no standby any more, or does not answer.
    private func isDue() -> Bool {
        do throws(PostgresError) {
            var connection = try connect()
            return try !connection.serverPosition(timeout: .seconds(5)).isInRecovery
        } catch {
            // The look says why.
            return true
        }
    }

    private func tell(_ change: TableChanges.Change) {
        let metadata: KeyValuePairs<String, LogValue> = ["table": .init(change.table), "change": .init(change.text)]
        if change.movesRows {
            services.rowsNotSent("a table has changed", metadata)
        } else {
            services.log.info("a table has changed", metadata)
        }
    }

    /// Compares the publication with what it was when the session began, or at the look before.
    private func judge(_ now: Publication, since before: Publication?, hasFaults: Bool) {
        if let before, before.oid != now.oid {
            return raise { StartRefusal.madeAgain(now.name, stored: $0, available: $1, now: $2) }
        }
        let returned = before.map { now.returned(since: $0) }?.filter { $0.matches(settings.tables) } ?? []
        guard returned.isEmpty else {
            return raise { StartRefusal.returned(returned, now.name, stored: $0, available: $1, now: $2) }
        }
        guard !hasFaults else { return }
        services.note(now, since: before, of: settings.tables)
    }

    /// Ends the stream: it would lose rows in silence (C8). What led here is judged at the next start again.
    private func raise(_ refusal: (_ stored: StoredPosition?, _ available: LSN, _ now: Int64) -> StartRefusal) {
        services.state.failed("postgres", kind: "unpublished_table")
        let snapshot = services.state.snapshot
        services.alarm.raise(refusal(snapshot.stored, snapshot.serverLSN, services.clock.wall() / 1000).exit)
    }

    private struct Look {
        var sight: AgentState.Sight
        var wanted: [TableFacts]
        var faults: [PublicationFault]
        /// Tables that are wanted by their very name.
        var named: Set<String>
        var published: Set<String>
        /// What of all that is wanted does not come.
        var unpublished: Set<String>
        /// Tables that are wanted by their very name, and do not exist.
        var missing: [String]
        var publication: Publication?
    }

    /// Looks at the slot, and at which tables the configuration wants and the publication has.
    private func look() throws(PostgresError) -> Look {
        var connection = try connect()
        let slot = try connection.replicationSlot(named: settings.slot)
        let position = try connection.serverPosition()
        let timeline = position.isInRecovery ? StartFacts.timeline(settings) : position.timeline
        services.state.update { snapshot in
            snapshot.see(position.wal, at: services.clock.wall() / 1000)
            snapshot.restartLSN = slot?.restartLSN ?? LSN(0)
            snapshot.retainedWAL = slot?.retainedBytes.map { UInt64(clamping: $0) }
            snapshot.safeWAL = slot?.safeWALSize
            if let confirmed = slot?.confirmedFlushLSN { snapshot.confirmedLSN = max(snapshot.confirmedLSN, confirmed) }
        }
        let patterns = settings.tables
        let wanted = try connection.tables(matching: patterns)
        let publication = try connection.publication(named: settings.publication)
        let faults = publication?.faults(of: wanted, patterns: patterns) ?? []
        let names = patterns.filter { !$0.isGlob }
        let named = wanted.filter { names.match(schema: $0.schema, table: $0.name) }
        let missing = names.absent(from: wanted)
        let unpublished = publication == nil ? wanted.map(\.qualifiedName) : faults.compactMap(\.table)
        return Look(
            sight: AgentState.Sight(
                holder: slot?.holder, timeline: timeline, isOnStandby: position.isInRecovery,
                // No hour has passed before it has, whatever the server's clock may be.
                seen: (position.wal, min(position.committed, services.clock.wall() / 1000))),
            wanted: wanted, faults: faults,
            named: Set(named.map(\.qualifiedName)),
            published: Set(wanted.map(\.qualifiedName)).subtracting(unpublished),
            unpublished: Set(unpublished + missing.map(\.description)), missing: missing.map(\.description),
            publication: publication)
    }
}
