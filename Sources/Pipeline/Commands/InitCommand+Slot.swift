import ChangeData
import Kafka
import Postgres

/// The slot and the first position: of a new stream, or of one that goes on after a loss that was accepted.
extension InitCommand {
    /// - Parameters:
    ///   - judged: the position, with `gap` on record; as `fenced` has found it, where that is not nil.
    func makeSlot(
        after judged: StoredPosition?, _ gap: StartRefusal?, _ source: Source, _ fenced: TransactionalProducer?,
        isMended: Bool
    ) throws(AgentExit) {
        let producer: TransactionalProducer
        var existing = judged
        if let fenced {
            producer = fenced
        } else {
            producer = try makeProducer()
            existing = try positionNow(after: judged, isFenced: true)
        }
        let facts = try gather().facts
        // A slot that was never streamed from can only be held by the walsender of an init that was cut off: it is waited for.
        if let holder = facts.slot?.holder?.pid, existing?.state != .creating { throw inUse(holder) }
        if let foreign = StartRefusal.foreign(facts, stored: existing?.lsn) { throw foreign.exit }
        // Made since: it is not ours to drop.
        guard facts.slot == nil || existing != nil || gap != nil else { throw goneOn }
        let epoch: UInt32
        if let existing { epoch = existing.epoch } else { epoch = try firstEpoch(source) }
        var position = StoredPosition(
            systemID: source.server.systemID, timeline: facts.timeline, slot: settings.slot, epoch: epoch,
            lsn: existing?.lsn ?? LSN(0), commitTime: existing?.commitTime ?? 0, options: settings.fingerprint,
            state: .creating, gaps: existing?.gaps ?? [])
        position.partitions = try pins(source, after: existing)
        position.format = FormatPin(settings.format)
        position.publication = facts.published?.oid
        position.mark = facts.published.map { PublicationMark(of: $0) }
        position.cluster = try kafka { () throws(KafkaError) in
            try KafkaDecision.cluster(TopicMaker(settings, events: services.kafkaEvents, log: services.log))
        }
        if let gap, existing == nil {
            position.gaps.append(.init(gap, epoch: epoch, acceptedAt: services.clock.wall() / 1000))
        }
        if let gap, let start = start(with: source, after: gap) {
            position.lsn = start
        } else {
            try store(position, by: producer)
            try stopped()
            do throws(AgentExit) {
                position.lsn = try createSlot(source, isThere: facts.slot)
            } catch {
                try stopped()
                throw error
            }
        }
        position.state = .streaming
        position.messages = position.lsn
        // Else the loss goes on, and ends where a stream begins again.
        if isMended, let last = position.gaps.indices.last, position.gaps[last].to == LSN(0) {
            // Where only the publication sent less the stream goes on where it was; the loss ends where it sends all again.
            let isPartial = gap?.kind == .tableUnpublished || gap?.kind == .operationUnpublished
            position.gaps[last].to = isPartial ? gap?.available ?? position.lsn : position.lsn
        }
        try store(position, by: producer)
        output.line("slot \(settings.slot): streams from \(position.lsn), epoch \(position.epoch)")
        try reportExisting(source.tables, streamed: try gap == nil || existing == nil ? [] : streamed(source.tables))
    }

    /// The tables of which something was streamed before.
    private func streamed(_ tables: [TableFacts]) throws(AgentExit) -> Set<String> {
        try kafka { () throws(KafkaError) in
            let maker = try TopicMaker(settings, events: services.kafkaEvents, log: services.log)
            var streamed: Set<String> = []
            for table in tables {
                guard let topic = Preflight.tableTopics(settings, [table]).first,
                    let count = try maker.partitions(of: topic), try !maker.isEmpty(topic, partitions: count)
                else { continue }
                streamed.insert(table.qualifiedName)
            }
            return streamed
        }
    }

    /// Where the slot that is there can go on after a gap; nil where it must be made again.
    func start(with source: Source, after gap: StartRefusal) -> LSN? {
        // Where a slot is that is older than the publication, that cannot be decoded with it, or is passed over (18 and later).
        guard source.publication != nil, let slot = source.slot, !slot.isInvalidated,
            let confirmed = slot.confirmedFlushLSN
        else { return nil }
        switch gap.kind {
        case .slotMissing, .slotForeign, .slotInvalidated, .publicationMissing: return nil
        // What lies between the slot and the stored position is in Kafka already.
        case .optionsChanged, .tableUnpublished, .operationUnpublished, .tableMissing:
            return max(confirmed, gap.stored ?? confirmed)
        // Both histories are the same up to the end of the older one.
        case .timelineDiverged where gap.lostBytes == nil: return max(confirmed, gap.available ?? confirmed)
        case .timelineDiverged, .noPosition, .unreadablePosition, .otherCluster, .otherKafka, .serverBehind, .slotAhead:
            return confirmed
        }
    }

    /// The epoch of a stream whose position is nowhere: 1, unless its topics show that there was one before. That one's epoch
    /// is not known, so the new one is a number that none before can have reached: the seconds since 1970.
    private func firstEpoch(_ source: Source) throws(AgentExit) -> UInt32 {
        let isUsed = try kafka { () throws(KafkaError) in
            let admin = try KafkaAdmin(settings.kafka, events: services.kafkaEvents)
            for topic in Preflight.topicNames(settings, source.tables) {
                for partition in 0..<(try admin.partitionCount(of: topic, timeout: .seconds(20)) ?? 0)
                where try admin.bounds(of: TopicPartition(topic, partition), timeout: .seconds(20)).high > 0 {
                    return true
                }
            }
            return false
        }
        guard isUsed else { return 1 }
        output.line(
            """
            topics hold records from before. Of a stream that is over: this one's have a higher epoch. Of another agent that goes on: \
            stop here, two must not write to one topic, and choose another name or kafka.topic
            """)
        return UInt32(clamping: services.clock.wall() / 1_000_000_000)
    }

    /// A standby takes no slot that goes on to others.
    func takesFailover(_ source: Source) -> Bool { source.server.version >= 170_000 && !source.server.isInRecovery }

    private func createSlot(_ source: Source, isThere slot: StartFacts.Slot?) throws(AgentExit) -> LSN {
        try postgres { (_) throws(PostgresError) in
            var connection = try ReplicationConnection(connecting: settings.postgres, timeout: .seconds(10))
            let wait = SlotWait(settings: settings, output: output, log: services.log)
            if let slot { try drop(slot, &connection, saying: wait) }
            return try connection.createLogicalSlot(
                settings.slot, failover: takesFailover(source), timeout: .seconds(24 * 3600),
                whileWaiting: {
                    wait.tick()
                    return !services.stop.isRequested
                })
        }
    }

    /// The walsender of an init that was cut off may still be making it, and takes it away when it ends.
    private func drop(
        _ slot: StartFacts.Slot, _ connection: inout ReplicationConnection, saying wait: SlotWait
    ) throws(PostgresError) {
        if slot.holder != nil { wait.tell() }
        do throws(PostgresError) {
            try connection.dropSlot(
                settings.slot, waitForRelease: true, timeout: .seconds(24 * 3600),
                whileWaiting: { !services.stop.isRequested })
        } catch  where error.kind == .slotMissing {}
    }
}
