package import ChangeData
import Dates
package import Postgres

/// What is refused in more than one place, or told at length: one member a cause.
extension StartRefusal {
    /// There is no complete position: the stream cannot know where to begin.
    static func withoutPosition(_ stored: StoredPosition?, _ facts: StartFacts) -> StartRefusal {
        let what = "the progress topic holds no complete position for slot \(facts.slotName)"
        // Nothing goes on with such a slot, nor is it `init`'s to drop.
        if let foreign = foreign(facts, stored: nil) { return foreign }
        guard stored == nil, let slot = facts.slot else {
            return StartRefusal(.noPosition, what, hints: ["sluice init"])
        }
        if let invalidated = invalidated(facts, stored: nil) { return invalidated }
        guard facts.publication != nil else {
            return StartRefusal(
                .noPosition, what + ", nor is there a publication, but the slot exists", available: facts.walEnd,
                hints: [
                    "sluice init --accept-gap (makes the slot again: what it holds was committed without a publication, and is not sent)",
                    "choose another postgres.slot",
                ])
        }
        return StartRefusal(
            .noPosition,
            what
                + ", but the slot exists: the topic was deleted or truncated, these brokers are another cluster, or the slot is not ours",
            available: slot.confirmedFlush,
            hints: [
                "sluice init --accept-gap (goes on where the slot is; rows that Kafka has already may come again)",
                "sluice drop, then sluice init",
            ])
    }

    /// The slot is somebody else's; nil where it may be ours, or there is none.
    /// - Parameter stored: where Kafka's copy ends; nil where it is not known.
    static func foreign(_ facts: StartFacts, stored: LSN?) -> StartRefusal? {
        guard let slot = facts.slot else { return nil }
        let message: String
        if slot.plugin != "pgoutput" || slot.database != facts.database {
            message = """
                slot \(facts.slotName) is of plugin \(slot.plugin) in database \(slot.database), not of pgoutput in \
                \(facts.database)
                """
        } else if slot.isTwoPhase {
            message =
                "slot \(facts.slotName) was made with two_phase, by somebody else: it shows transactions that are not committed yet"
        } else {
            return nil
        }
        return StartRefusal(
            .slotForeign, message, stored: stored,
            hints: [
                "choose another postgres.slot",
                "sluice drop && sluice init\(stored == nil ? "" : " --accept-gap") (takes the slot from whoever made it)",
            ])
    }

    /// The server gives nothing from the slot any more; nil where it does.
    static func invalidated(_ facts: StartFacts, stored: LSN?) -> StartRefusal? {
        guard let slot = facts.slot, slot.walStatus == "lost" || slot.invalidation != nil || slot.restart == nil else {
            return nil
        }
        let why = slot.invalidation.map { " (\($0))" } ?? ""
        let cure =
            switch slot.invalidation {
            case "idle_timeout": "raise idle_replication_slot_timeout, or keep the agent running"
            case "wal_level_insufficient": "set wal_level = logical"
            case "rows_removed", "conflict": "set hot_standby_feedback = on"
            default: "raise max_slot_wal_keep_size"
            }
        return StartRefusal(
            .slotInvalidated,
            "slot \(facts.slotName) was invalidated\(why): the server has removed WAL that it needed",
            stored: stored, available: facts.walEnd, hints: ["sluice init --accept-gap", cure])
    }

    /// The last record of a progress topic is no position that we know.
    static func unreadable(_ topic: String, _ why: String) -> StartRefusal {
        StartRefusal(
            .unreadablePosition, "the position in topic \(topic) cannot be read: \(why)",
            hints: [
                "run the version of sluice that has written it, if a newer one has",
                "kafka-console-consumer.sh --bootstrap-server BROKERS --topic \(topic) --from-beginning --isolation-level read_committed --property print.key=true",
                "kafka-topics.sh --bootstrap-server BROKERS --delete --topic \(topic), then sluice init --accept-gap (goes on where the slot is)",
            ])
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

    /// The server cannot decode what was committed where the slot stands (before 18): there was no publication.
    static func undecodable(
        _ settings: StreamSettings, _ error: PostgresError, stored: StoredPosition?, available: LSN?, now: Int64
    ) -> StartRefusal {
        var refusal = StartRefusal(
            .publicationMissing,
            "publication \(settings.publication) was dropped, or did not exist yet at this position: \(error)",
            stored: stored?.lsn, available: available,
            hints: [
                "sluice init --accept-gap (makes publication and slot again; changes until then are lost)",
                // Of the two `init` cannot see which is older.
                "where that finds no gap, the slot is older than the publication: sluice drop, then sluice init --accept-gap",
            ])
        if let stored { refusal.since = (stored.commitTime, now) }
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
        let what =
            stored?.commitLSN == LSN(0)
            ? "the server's WAL has changes before the stored position, and Kafka has none of them"
            : "the last transaction that Kafka holds (\(last)) is not in the server's WAL, or others are in its place or behind it"
        var refusal = StartRefusal(
            .serverBehind, "\(what): it was restored to an older point, and written to since", stored: stored?.lsn,
            available: available,
            hints: ["sluice verify (to see which rows)", "sluice init --accept-gap"])
        if let stored { refusal.since = (stored.commitTime, now) }
        return refusal
    }
}
