package import ChangeData
package import Postgres

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
        /// The walsender that has it, if one has.
        package var holder: Walsender?
        /// Whether prepared transactions are decoded before they are committed.
        package var isTwoPhase = false

        package init(
            plugin: String, database: String, confirmedFlush: LSN, restart: LSN?, walStatus: String,
            invalidation: String?, holder: Walsender?
        ) {
            self.plugin = plugin
            self.database = database
            self.confirmedFlush = confirmedFlush
            self.restart = restart
            self.walStatus = walStatus
            self.invalidation = invalidation
            self.holder = holder
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
    /// Whether it is a standby: what it has not replayed yet it may still get.
    package var isInRecovery = false
    /// Nil where there is no slot of that name.
    package var slot: Slot?
    package var options: String
    /// The publication's name; nil where there is no such publication.
    package var publication: String?
    /// Its OID; 0 where it is not known.
    package var publicationOID: UInt32 = 0
    /// It and its tables; nil where there is none.
    package var published: Publication?
    /// What is wrong with the publication, of the tables that exist and that the configuration names one by one.
    package var faults: [PublicationFault]
    /// Tables that the configuration names one by one and that do not exist.
    package var missing: [String] = []
    /// Tables that the publication names and the configuration does not want.
    package var strangers: [String] = []
    /// The server's clock, microseconds since 1970.
    package var clock: Int64

    package init(
        slotName: String, database: String, systemID: String, timeline: UInt32, history: [UInt32: LSN], walEnd: LSN,
        slot: Slot?, options: String, publication: String?, faults: [PublicationFault] = [], clock: Int64 = 0
    ) {
        self.slotName = slotName
        self.database = database
        self.systemID = systemID
        self.timeline = timeline
        self.history = history
        self.walEnd = walEnd
        self.slot = slot
        self.options = options
        self.publication = publication
        self.faults = faults
        self.clock = clock
    }
}

/// Compares the stored position with the server, before anything is produced or confirmed.
///
/// PostgreSQL does not refuse a start before `confirmed_flush_lsn`: it moves it forward without a word (trap 6), and takes
/// a start beyond it as it is. So every comparison that guards C4 and C8 is made here.
package enum StartDecision {
    /// Answers the position at which the stream may start, else throws why it may not. It is the stored one, but for WAL in which
    /// nothing was committed that is ours and that the server does not have: that is cut off.
    @discardableResult
    package static func judge(_ stored: StoredPosition?, _ facts: StartFacts) throws(StartRefusal) -> StoredPosition {
        guard var stored, stored.state == .streaming else { throw withoutPosition(stored, facts) }
        do throws(StartRefusal) {
            try judgeServer(&stored, facts)
            try judgeSlot(stored, facts)
            try judgePublication(stored, facts)
        } catch {
            var refusal = error
            refusal.since = (stored.commitTime, facts.clock)
            throw refusal
        }
        return stored
    }

    private static func withoutPosition(_ stored: StoredPosition?, _ facts: StartFacts) -> StartRefusal {
        let what = "the progress topic holds no complete position for slot \(facts.slotName)"
        guard stored == nil, let slot = facts.slot else {
            return StartRefusal(.noPosition, what, hints: ["sluice init"])
        }
        return StartRefusal(
            .noPosition,
            what + ", but the slot exists: the topic was deleted or truncated, or the slot is not ours",
            available: slot.confirmedFlush,
            hints: [
                "sluice init --accept-gap (goes on where the slot is; rows that Kafka has already may come again)",
                "sluice drop, then sluice init",
            ])
    }

    /// Rows of a table that is not published never come, and the server says nothing of it.
    private static func judgePublication(_ stored: StoredPosition, _ facts: StartFacts) throws(StartRefusal) {
        if stored.ordinal > 0, stored.options != facts.options {
            throw StartRefusal(
                .optionsChanged,
                """
                the transaction at \(stored.commitLSN) is half in Kafka (\(stored.ordinal) changes), and publication or \
                options have changed since: its changes cannot be counted again
                """, stored: stored.lsn, hints: ["restore the publication as it was", "sluice init --accept-gap"])
        }
        if let publication = facts.publication, let oid = stored.publication, oid != facts.publicationOID {
            throw madeAgain(publication, stored: stored, available: facts.walEnd, now: facts.clock)
        }
        if facts.publication == nil || !facts.faults.isEmpty {
            throw unpublished(
                facts.faults, facts.publication, stored: stored, available: facts.walEnd, now: facts.clock)
        }
        if let name = facts.missing.first, !facts.strangers.isEmpty {
            throw missing(name, facts.strangers, stored: stored, available: facts.walEnd)
        }
    }

    /// Changes are no longer published.
    /// - Parameter publication: its name; nil where it is gone with all its tables.
    package static func unpublished(
        _ faults: [PublicationFault], _ publication: String?, stored: StoredPosition?, available: LSN, now: Int64
    ) -> StartRefusal {
        var refusal: StartRefusal
        if let publication {
            let isOfTables = faults.contains { $0.table != nil }
            refusal = StartRefusal(
                isOfTables ? .tableUnpublished : .operationUnpublished,
                "publication \(publication) \(faults.map(\.text).joined(separator: ", ")): such changes since then are lost",
                hints: (faults.contains(where: \.isAbsent)
                    ? ["sluice init (adds a table of which nothing was ever streamed: that is no gap)"] : [])
                    + (faults.contains(where: \.isForInit)
                        ? ["sluice init --accept-gap (mends it, and keeps the loss on record)"] : [])
                    + faults.map {
                        "\($0.cure);" + ($0.isForInit ? " -- what init does, for whoever owns the publication" : "")
                    }
                    + (isOfTables ? ["take the table out of postgres.tables"] : []))
        } else {
            refusal = StartRefusal(
                .publicationMissing, "the publication does not exist: it was dropped",
                hints: ["sluice init --accept-gap (makes it and the slot again; changes until then are lost)"])
        }
        refusal.stored = stored?.lsn
        refusal.available = available
        if let stored { refusal.since = (stored.commitTime, now) }
        return refusal
    }

    /// What was committed while there was no publication cannot be decoded, or is passed over (18 and later).
    package static func madeAgain(
        _ publication: String, stored: StoredPosition?, available: LSN, now: Int64
    ) -> StartRefusal {
        var refusal = unpublished([], nil, stored: stored, available: available, now: now)
        refusal.message =
            "publication \(publication) was dropped and made again: changes made while there was none are lost"
        return refusal
    }

    /// Tables were taken out of the publication and put back: what was committed in between was not decoded.
    package static func returned(
        _ tables: [PublishedTable], _ publication: String, stored: StoredPosition?, available: LSN, now: Int64
    ) -> StartRefusal {
        let names = tables.map(\.qualifiedName)
        let shown = names.prefix(5).joined(separator: ", ") + (names.count > 5 ? ", ..." : "")
        var refusal = StartRefusal(
            .tableUnpublished,
            "\(shown): taken out of publication \(publication) and put back; changes committed in between are lost",
            stored: stored?.lsn, available: available,
            hints: ["sluice init --accept-gap (keeps the loss on record; the stream goes on where it was)"])
        if let stored { refusal.since = (stored.commitTime, now) }
        return refusal
    }

    /// A table that the configuration names is not there, and others are published that it does not name: it may have another
    /// name now, under which its changes would be passed over.
    package static func missing(
        _ name: String, _ strangers: [String], stored: StoredPosition?, available: LSN?
    ) -> StartRefusal {
        let shown = strangers.prefix(5).joined(separator: ", ") + (strangers.count > 5 ? ", ..." : "")
        return StartRefusal(
            .tableMissing,
            """
            table \(name) does not exist, and the publication has tables that postgres.tables does not match: \(shown). If one of \
            them is \(name) by another name, its changes would be passed over
            """, stored: stored?.lsn, available: available,
            hints: ["write its new name into postgres.tables", "take \(name) out of postgres.tables"])
    }

    /// Kafka is another cluster than the one that holds what the position says.
    package static func otherKafka(
        _ cluster: String, _ stored: StoredPosition, available: LSN?, now: Int64
    ) -> StartRefusal {
        var refusal = StartRefusal(
            .otherKafka,
            """
            Kafka is another cluster: its identifier is \(cluster), the position was stored in \(stored.cluster ?? "another"). Its \
            topics may lack rows that the position says are there
            """, stored: stored.lsn, available: available,
            hints: [
                "point kafka.brokers at the cluster that was written to", "sluice verify (to see which rows)",
                "sluice init --accept-gap",
            ])
        refusal.since = (stored.commitTime, now)
        return refusal
    }

    /// The server's WAL is another than the one that the stored position was taken from.
    package static func otherHistory(_ stored: StoredPosition?, available: LSN, now: Int64) -> StartRefusal {
        let last =
            stored.map { "\($0.commitLSN), committed at \(ISOTime.text(microseconds: $0.commitTime))" } ?? "unknown"
        var refusal = StartRefusal(
            .serverBehind,
            """
            the last transaction that Kafka holds (\(last)) is not in the server's WAL, or others are in its place: it was \
            restored to an older point, and written to since
            """, stored: stored?.lsn, available: available,
            hints: ["sluice verify (to see which rows)", "sluice init --accept-gap"])
        if let stored { refusal.since = (stored.commitTime, now) }
        return refusal
    }

    private static func judgeServer(_ stored: inout StoredPosition, _ facts: StartFacts) throws(StartRefusal) {
        // Of a transaction that is half in Kafka the server must have the commit, which begins there.
        let needed = stored.ordinal > 0 ? LSN(stored.commitLSN.rawValue &+ 1) : stored.lsn
        guard stored.systemID == facts.systemID else {
            throw StartRefusal(
                .otherCluster,
                "the server is another cluster: system identifier \(facts.systemID), Kafka's copy is of \(stored.systemID)",
                stored: stored.lsn, available: facts.slot?.confirmedFlush ?? facts.walEnd,
                hints: ["point postgres.url at the cluster that was streamed", "sluice init --accept-gap"])
        }
        if stored.timeline != facts.timeline {
            guard let end = facts.history[stored.timeline], stored.timeline < facts.timeline else {
                throw StartRefusal(
                    .timelineDiverged,
                    "timeline \(facts.timeline) of the server does not descend from timeline \(stored.timeline) of the stored position",
                    stored: stored.lsn, available: facts.walEnd, hints: ["sluice init --accept-gap"])
            }
            if end < needed, stored.ordinal == 0, stored.mark != nil, stored.commitLSN > LSN(0), stored.commitLSN < end
            {
                // Whether that transaction is whole, `HistoryCheck` will see.
                stored.lsn = end
                stored.timeline = facts.timeline
                return
            }
            guard end >= needed else {
                throw StartRefusal(
                    .timelineDiverged,
                    """
                    timeline \(stored.timeline) ended at \(end), before the stored position \(needed): Kafka has rows \
                    that this server never had
                    """, stored: needed, available: end,
                    hints: ["sluice verify (to see which)", "sluice init --accept-gap"])
            }
        }
        guard facts.walEnd >= needed else {
            throw StartRefusal(
                .serverBehind,
                "the server's WAL ends at \(facts.walEnd), before the stored position \(needed): it was restored to an older point",
                stored: needed, available: facts.walEnd,
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
        guard !slot.isTwoPhase else {
            throw StartRefusal(
                .slotForeign,
                "slot \(facts.slotName) was made with two_phase, by somebody else: it shows transactions that are not committed yet",
                stored: stored.lsn, hints: ["choose another postgres.slot", "sluice drop && sluice init --accept-gap"])
        }
        guard slot.walStatus != "lost", slot.invalidation == nil, slot.restart != nil else {
            let why = slot.invalidation.map { " (\($0))" } ?? ""
            throw StartRefusal(
                .slotInvalidated,
                "slot \(facts.slotName) was invalidated\(why): the server has removed WAL that it needed",
                stored: stored.lsn, available: facts.walEnd,
                hints: ["sluice init --accept-gap", cure(slot.invalidation)])
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

    /// What keeps it from happening again.
    private static func cure(_ invalidation: String?) -> String {
        switch invalidation {
        case "idle_timeout": "raise idle_replication_slot_timeout, or keep the agent running"
        case "wal_level_insufficient": "set wal_level = logical"
        case "rows_removed", "conflict": "set hot_standby_feedback = on"
        default: "raise max_slot_wal_keep_size"
        }
    }
}
