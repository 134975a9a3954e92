import ChangeData

/// Compares the stored position with the server, before anything is produced or confirmed.
///
/// PostgreSQL does not refuse a start before `confirmed_flush_lsn`: it moves it forward without a word (trap 6), and takes
/// a start beyond it as it is. So every comparison that guards C4 and C8 is made here.
package enum StartDecision {
    /// Answers the position at which the stream may start, else throws why it may not. It is the stored one, but for WAL in which
    /// nothing was committed that is ours and that the server does not have: that is cut off.
    @discardableResult
    package static func judge(_ stored: StoredPosition?, _ facts: StartFacts) throws(StartRefusal) -> StoredPosition {
        guard var stored, stored.state == .streaming else { throw .withoutPosition(stored, facts) }
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
            throw .madeAgain(publication, stored: stored, available: facts.walEnd, now: facts.clock)
        }
        if facts.publication == nil || !facts.faults.isEmpty {
            throw .unpublished(
                facts.faults, facts.publication, stored: stored, available: facts.walEnd, now: facts.clock)
        }
        if let name = facts.missing.first, !facts.strangers.isEmpty {
            throw .missing(name, facts.strangers, stored: stored, available: facts.walEnd)
        }
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
        if let foreign = StartRefusal.foreign(facts, stored: stored.lsn) { throw foreign }
        if let invalidated = StartRefusal.invalidated(facts, stored: stored.lsn) { throw invalidated }
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
