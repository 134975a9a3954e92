package import ChangeData

/// What must be known before a stream may start; gathered by the shell, judged here.
package struct StartFacts: Equatable, Sendable {
    /// What `pg_replication_slots` says of our slot.
    package struct Slot: Equatable, Sendable {
        package var plugin: String
        package var database: String
        package var confirmedFlush: LSN
        package var restart: LSN?
        /// `reserved`, `extended`, `unreserved` or `lost`.
        package var walStatus: String
        /// Why the server invalidated it, where it says so (16 and later).
        package var invalidation: String?
        /// The process of the walsender that has it, if one has.
        package var activePID: Int32?

        package init(
            plugin: String, database: String, confirmedFlush: LSN, restart: LSN?, walStatus: String,
            invalidation: String?, activePID: Int32?
        ) {
            self.plugin = plugin
            self.database = database
            self.confirmedFlush = confirmedFlush
            self.restart = restart
            self.walStatus = walStatus
            self.invalidation = invalidation
            self.activePID = activePID
        }
    }

    package var slotName: String
    package var database: String
    package var systemID: String
    package var timeline: UInt32
    /// The end of each older timeline that this server's history names.
    package var history: [UInt32: LSN]
    /// The end of the server's WAL.
    package var walEnd: LSN
    /// Nil where there is no slot of that name.
    package var slot: Slot?
    package var options: String

    package init(
        slotName: String, database: String, systemID: String, timeline: UInt32, history: [UInt32: LSN], walEnd: LSN,
        slot: Slot?, options: String
    ) {
        self.slotName = slotName
        self.database = database
        self.systemID = systemID
        self.timeline = timeline
        self.history = history
        self.walEnd = walEnd
        self.slot = slot
        self.options = options
    }
}

/// Why a stream may not start: changes are lost, or may be (C8).
package struct StartRefusal: Error, Equatable, Sendable {
    package enum Kind: String, Sendable {
        case noPosition = "no-position"
        case otherCluster = "other-cluster"
        case timelineDiverged = "timeline-diverged"
        case serverBehind = "server-behind"
        case slotMissing = "slot-missing"
        case slotForeign = "slot-foreign"
        case slotInvalidated = "slot-invalidated"
        case slotAhead = "slot-ahead"
        case optionsChanged = "options-changed"
    }

    package var kind: Kind
    package var message: String
    /// Where Kafka's copy ends.
    package var stored: LSN?
    /// Where the server can go on.
    package var available: LSN?
    package var hints: [String]

    package init(
        _ kind: Kind, _ message: String, stored: LSN? = nil, available: LSN? = nil, hints: [String] = []
    ) {
        self.kind = kind
        self.message = message
        self.stored = stored
        self.available = available
        self.hints = hints
    }

    /// Bytes of WAL between what Kafka has and what the server can still give; nil where they cannot be compared.
    package var lostBytes: UInt64? {
        guard let stored, let available, available > stored else { return nil }
        return available.rawValue - stored.rawValue
    }

    /// Exit 3, with both LSNs, the loss and the ways out.
    package var exit: AgentExit {
        var details = ["kind: \(kind.rawValue)"]
        if let stored { details.append("stored position: \(stored)") }
        if let available { details.append("available from: \(available)") }
        if let lostBytes { details.append("lost: \(lostBytes) bytes of WAL") }
        return AgentExit(.gap, message, details: details, hints: hints)
    }
}

/// Compares the stored position with the server, before anything is produced or confirmed.
///
/// PostgreSQL does not refuse a start before `confirmed_flush_lsn`: it moves it forward without a word (trap 6), and takes
/// a start beyond it as it is. So every comparison that guards C4 and C8 is made here.
package enum StartDecision {
    /// Answers the position at which the stream may start, else throws why it may not.
    @discardableResult
    package static func judge(_ stored: StoredPosition?, _ facts: StartFacts) throws(StartRefusal) -> StoredPosition {
        guard let stored, stored.state == .streaming else {
            throw StartRefusal(
                .noPosition, "the progress topic holds no complete position for slot \(facts.slotName)",
                hints: ["sluice init"])
        }
        try judgeServer(stored, facts)
        try judgeSlot(stored, facts)
        if stored.ordinal > 0, stored.options != facts.options {
            throw StartRefusal(
                .optionsChanged,
                """
                the transaction at \(stored.commitLSN) is half in Kafka (\(stored.ordinal) changes), and publication or \
                options have changed since: its changes cannot be counted again
                """, stored: stored.lsn, hints: ["restore the publication as it was", "sluice init --accept-gap"])
        }
        return stored
    }

    private static func judgeServer(_ stored: StoredPosition, _ facts: StartFacts) throws(StartRefusal) {
        guard stored.systemID == facts.systemID else {
            throw StartRefusal(
                .otherCluster,
                "the server is another cluster: system identifier \(facts.systemID), Kafka's copy is of \(stored.systemID)",
                stored: stored.lsn,
                hints: ["point postgres.url at the cluster that was streamed", "sluice init --accept-gap"])
        }
        if stored.timeline != facts.timeline {
            guard let end = facts.history[stored.timeline], stored.timeline < facts.timeline else {
                throw StartRefusal(
                    .timelineDiverged,
                    "timeline \(facts.timeline) of the server does not descend from timeline \(stored.timeline) of the stored position",
                    stored: stored.lsn, hints: ["sluice init --accept-gap"])
            }
            guard end >= stored.lsn else {
                throw StartRefusal(
                    .timelineDiverged,
                    """
                    timeline \(stored.timeline) ended at \(end), before the stored position \(stored.lsn): Kafka has rows \
                    that this server never had
                    """, stored: stored.lsn, available: end,
                    hints: ["sluice verify (to see which)", "sluice init --accept-gap"])
            }
        }
        guard facts.walEnd >= stored.lsn else {
            throw StartRefusal(
                .serverBehind,
                "the server's WAL ends at \(facts.walEnd), before the stored position \(stored.lsn): it was restored to an older point",
                stored: stored.lsn, available: facts.walEnd,
                hints: ["sluice verify (to see which rows)", "sluice init --accept-gap"])
        }
    }

    private static func judgeSlot(_ stored: StoredPosition, _ facts: StartFacts) throws(StartRefusal) {
        guard let slot = facts.slot else {
            throw StartRefusal(
                .slotMissing, "slot \(facts.slotName) does not exist: it was dropped", stored: stored.lsn,
                available: facts.walEnd, hints: ["sluice init --accept-gap"])
        }
        guard slot.plugin == "pgoutput", slot.database == facts.database else {
            throw StartRefusal(
                .slotForeign,
                """
                slot \(facts.slotName) is of plugin \(slot.plugin) in database \(slot.database), not of pgoutput in \
                \(facts.database)
                """, stored: stored.lsn,
                hints: ["choose another postgres.slot", "sluice drop && sluice init --accept-gap"])
        }
        guard slot.walStatus != "lost", slot.invalidation == nil, slot.restart != nil else {
            let why = slot.invalidation.map { " (\($0))" } ?? ""
            throw StartRefusal(
                .slotInvalidated,
                "slot \(facts.slotName) was invalidated\(why): the server has removed WAL that it needed",
                stored: stored.lsn, available: facts.walEnd,
                hints: ["raise max_slot_wal_keep_size", "sluice init --accept-gap"])
        }
        guard slot.confirmedFlush <= stored.lsn else {
            throw StartRefusal(
                .slotAhead,
                """
                slot \(facts.slotName) is at \(slot.confirmedFlush), past the stored position \(stored.lsn): it was \
                re-created or advanced
                """, stored: stored.lsn, available: slot.confirmedFlush, hints: ["sluice init --accept-gap"])
        }
    }
}
