import ChangeData
import Kafka
import Postgres

/// `sluice init`: makes topics, publication and slot, in an order that may be cut off anywhere and begun again.
///
/// Topics; publication, committed; a progress record `creating`; the slot; the record with its consistent point. A slot that a
/// `creating` record names was never streamed from: it is dropped and made again. Over a complete record no position changes.
package struct InitCommand {
    private let settings: StreamSettings
    private let services: StreamServices
    private let output: Output

    package init(settings: StreamSettings, services: StreamServices, output: Output) {
        self.settings = settings
        self.services = services
        self.output = output
    }

    /// - Parameters:
    ///   - dryRun: prints what would be done, and does nothing.
    ///   - acceptGap: takes a new position after a loss, and keeps the loss on record.
    package func run(dryRun: Bool, acceptGap: Bool) throws(AgentExit) {
        let source = try inspect()
        output.findings((source.findings).filter { $0.severity > .fine })
        guard !source.findings.hasProblem else {
            throw source.findings.exit(.configuration, "init changes nothing before these are settled")
        }
        if dryRun { return plan(source) }
        try make(source)
        let existing = try position()
        if let existing, existing.state == .streaming, !acceptGap {
            try reportComplete(existing, source)
        } else {
            try makeSlot(after: existing, source, acceptGap: acceptGap)
        }
    }

    // MARK: Looking

    private struct Source {
        var server: ServerFacts
        var tables: [TableFacts]
        var publication: Publication?
        var slot: ReplicationSlot?
        var findings: [Finding]
    }

    private func inspect() throws(AgentExit) -> Source {
        try postgres { (connection) throws(PostgresError) in
            let server = try connection.serverFacts()
            let patterns = settings.tables.compactMap { TablePattern($0) }
            let tables = try connection.tables(matching: patterns)
            let publication = try connection.publication(named: settings.publication)
            let slot = try connection.replicationSlot(named: settings.slot)
            var findings =
                Preflight.server(server, hasSlot: slot != nil) + Preflight.tables(tables, patterns: patterns)
            findings += Preflight.topics(settings, tables)
            if publication != nil {
                findings += Preflight.publication(publication, named: settings.publication, wanted: tables)
            }
            return Source(server: server, tables: tables, publication: publication, slot: slot, findings: findings)
        }
    }

    private func createPublication(_ tables: [TableFacts]) -> String {
        let names = tables.map { Quoting.qualified($0.schema, $0.name) }.joined(separator: ", ")
        return """
            CREATE PUBLICATION \(Quoting.identifier(settings.publication)) FOR TABLE \(names) \
            WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)
            """
    }

    private func plan(_ source: Source) {
        for table in source.tables where !table.canSelect {
            output.line(
                "GRANT SELECT ON \(Quoting.qualified(table.schema, table.name)) TO \(Quoting.identifier(source.server.role));"
            )
        }
        if source.publication == nil { output.line(createPublication(source.tables) + ";") }
        if source.slot == nil {
            let failover = source.server.version >= 170_000 ? ", false, false, true" : ""
            output.line(
                "SELECT pg_create_logical_replication_slot(\(Quoting.literal(settings.slot)), 'pgoutput'\(failover));")
        }
        output.line("-- topic \(settings.progressTopic), and one topic for each of \(source.tables.count) tables")
    }

    // MARK: Making

    private func make(_ source: Source) throws(AgentExit) {
        let maker = try kafka { () throws(KafkaError) in
            try TopicMaker(settings, events: services.kafkaEvents, log: services.log)
        }
        for topic in Preflight.topicNames(settings, source.tables) {
            do throws(TopicMaker.Problem) {
                _ = try maker.ensure(topic)
            } catch {
                switch error {
                case .kafka(let cause): throw unavailable(cause)
                case .refused(let exit): throw exit
                }
            }
        }
        try kafka { () throws(KafkaError) in try maker.ensureProgress() }
        guard source.publication == nil else { return }
        try postgres { (connection) throws(PostgresError) in try connection.execute(createPublication(source.tables)) }
        output.line("publication \(settings.publication): made for \(source.tables.count) tables")
    }

    private func position() throws(AgentExit) -> StoredPosition? {
        let found = try kafka { () throws(KafkaError) in
            try ProgressStore(settings, events: services.kafkaEvents).read(timeout: .seconds(20)).found
        }
        switch found {
        case .nothing: return nil
        case .position(let position): return position
        case .unreadable(let why):
            throw AgentExit(.gap, "the position in topic \(settings.progressTopic) cannot be read: \(why)")
        }
    }

    private func reportComplete(_ stored: StoredPosition, _ source: Source) throws(AgentExit) {
        let (facts, _) = try gather()
        do throws(StartRefusal) {
            try StartDecision.judge(stored, facts)
        } catch { throw error.exit }
        try acceptPartitions(stored, source)
        output.line(
            "slot \(settings.slot): is there, position \(stored.lsn), epoch \(stored.epoch); nothing was changed")
    }

    /// Topics whose number of partitions has changed since: by running init a human has taken note.
    private func acceptPartitions(_ stored: StoredPosition, _ source: Source) throws(AgentExit) {
        var position = stored
        position.partitions = try pins(source)
        guard position.partitions != stored.partitions, source.slot?.activePID == nil else { return }
        for topic in Preflight.topicNames(settings, source.tables) {
            let now = position.partitions.others[topic] ?? position.partitions.usual
            let before = stored.partitions.others[topic] ?? stored.partitions.usual
            if let now, let before, now != before {
                output.line("topic \(topic): \(now) partitions, it had \(before); order per key holds from here on")
            }
        }
        try store(position, by: try makeProducer())
    }

    private func pins(_ source: Source) throws(AgentExit) -> PartitionPins {
        try kafka { () throws(KafkaError) in
            let maker = try TopicMaker(settings, events: services.kafkaEvents, log: services.log)
            var pins = PartitionPins()
            for topic in Preflight.topicNames(settings, source.tables) {
                if let count = try maker.partitions(of: topic) { pins.accept(topic, count: count) }
            }
            return pins
        }
    }

    private func makeProducer() throws(AgentExit) -> TransactionalProducer {
        try kafka { () throws(KafkaError) in
            let producer = try services.makeProducer(settings)
            try producer.initTransactions(timeout: .seconds(30))
            return producer
        }
    }

    private func makeSlot(after existing: StoredPosition?, _ source: Source, acceptGap: Bool) throws(AgentExit) {
        // A slot that was never streamed from can only be held by the walsender of an init that was cut off: it is waited for.
        if let holder = source.slot?.activePID, existing?.state != .creating {
            throw AgentExit(
                .unavailable, "slot \(settings.slot) is in use by walsender \(holder)",
                hints: ["stop the agent that streams from it, then run init again"])
        }
        var gap: StartRefusal?
        if existing?.state == .streaming || (existing == nil && source.slot != nil) {
            let (facts, _) = try gather()
            do throws(StartRefusal) {
                try StartDecision.judge(existing, facts)
                output.line("there is no gap: the slot holds everything after the stored position; nothing was changed")
                return
            } catch { gap = error }
            guard acceptGap else {
                throw AgentExit(
                    .gap, "slot \(settings.slot) exists, and no position is stored for it",
                    details: ["topic \(settings.progressTopic) was deleted or truncated, or the slot is not ours"],
                    hints: ["sluice init --accept-gap (goes on where the slot is)", "sluice drop, then sluice init"])
            }
        }
        let producer = try makeProducer()
        var position = StoredPosition(
            systemID: source.server.systemID, timeline: source.server.timeline, slot: settings.slot,
            epoch: (existing?.epoch ?? 0) + (gap != nil || existing == nil ? 1 : 0), lsn: existing?.lsn ?? LSN(0),
            commitTime: existing?.commitTime ?? 0, options: settings.fingerprint, state: .creating,
            gaps: existing?.gaps ?? [])
        position.partitions = try pins(source)
        // On record before anything is made: an init that is cut off here does not forget what was accepted.
        if let gap {
            position.gaps.append(
                .init(
                    kind: gap.kind.rawValue, from: gap.stored ?? LSN(0), to: LSN(0), epoch: position.epoch,
                    acceptedAt: services.clock.wall() / 1000))
        }
        let usable = gap.map { Self.canGoOn(with: source.slot, after: $0, settings.postgres.database) } ?? false
        if usable, let confirmed = source.slot?.confirmedFlushLSN {
            position.lsn = confirmed
        } else {
            try store(position, by: producer)
            position.lsn = try createSlot(source)
        }
        position.state = .streaming
        if let last = position.gaps.last, last.to == LSN(0) {
            position.gaps[position.gaps.count - 1].to = position.lsn
        }
        if let gap {
            for line in gap.exit.details { output.line("gap accepted: \(line)") }
        }
        try store(position, by: producer)
        output.line("slot \(settings.slot): streams from \(position.lsn), epoch \(position.epoch)")
        try reportExisting(source)
    }

    /// Whether the slot can be streamed from although the stored position does not fit it.
    private static func canGoOn(with slot: ReplicationSlot?, after gap: StartRefusal, _ database: String) -> Bool {
        guard let slot, !slot.isInvalidated, slot.plugin == "pgoutput", slot.database == database else { return false }
        return gap.kind != .slotMissing && gap.kind != .slotForeign
    }

    private func createSlot(_ source: Source) throws(AgentExit) -> LSN {
        try postgres { (_) throws(PostgresError) in
            var connection = try ReplicationConnection(connecting: settings.postgres, timeout: .seconds(10))
            if source.slot != nil { try connection.dropSlot(settings.slot, waitForRelease: true) }
            var waited = 0
            return try connection.createLogicalSlot(
                settings.slot, failover: connection.serverVersion >= 170_000, timeout: .seconds(24 * 3600),
                whileWaiting: {
                    waited += 1
                    if waited % 5 == 1 { tellBlockers(seconds: waited) }
                    return !services.stop.isRequested
                })
        }
    }

    /// A slot waits for every transaction that is running; for hours, if one runs for hours (trap 37).
    private func tellBlockers(seconds: Int) {
        guard var connection = try? PostgresConnection(connecting: settings.postgres, timeout: .seconds(2)),
            let running = try? connection.runningTransactions()
        else { return }
        output.line("waiting for \(running.count) running transactions to end (\(seconds) s):")
        for transaction in running {
            output.line(
                "  pid \(transaction.pid.map { "\($0)" } ?? "-"), for \(transaction.ageSeconds) s: \(transaction.description)"
            )
        }
    }

    private func store(_ position: StoredPosition, by producer: TransactionalProducer) throws(AgentExit) {
        try kafka { () throws(KafkaError) in
            let topic = try producer.topic(settings.progressTopic, timeout: .seconds(30))
            try producer.begin()
            try ProgressStore.produce(position, for: settings.progressKey, to: topic, by: producer)
            try producer.commit(timeout: .seconds(30))
        }
    }

    /// Rows from before the slot are not in the stream.
    private func reportExisting(_ source: Source) throws(AgentExit) {
        for table in source.tables where table.canSelect {
            let count = try postgres { (connection) throws(PostgresError) in
                try connection.exactRowCount(schema: table.schema, table: table.name)
            }
            if count > 0 {
                output.line(
                    "table \(table.schema).\(table.name): its \(count) existing rows will not be sent, only changes from now on"
                )
            }
        }
    }

    // MARK: Errors

    private func gather() throws(AgentExit) -> (facts: StartFacts, senderTimeout: Int) {
        try postgres { (_) throws(PostgresError) in try StartFacts.gather(settings) }
    }

    private func postgres<T>(
        _ body: (inout PostgresConnection) throws(PostgresError) -> T
    ) throws(AgentExit) -> T {
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            return try body(&connection)
        } catch { throw CommandErrors.exit(error) }
    }

    private func kafka<T>(_ body: () throws(KafkaError) -> T) throws(AgentExit) -> T {
        do throws(KafkaError) { return try body() } catch { throw unavailable(error) }
    }

    private func unavailable(_ error: KafkaError) -> AgentExit { CommandErrors.exit(error) }
}
