import ChangeData
import Kafka
import Postgres

/// `sluice init`: makes topics, publication and slot, in an order that may be cut off anywhere and begun again.
///
/// Topics; publication, committed; a progress record `creating`; the slot; the record with its consistent point. A slot that a
/// `creating` record names was never streamed from: it is dropped and made again. Over a complete record no position changes.
/// A loss that is accepted is on record before anything is mended that would hide it. Somebody else's slot is left alone.
package struct InitCommand {
    let settings: StreamSettings
    let services: StreamServices
    let output: Output

    package init(settings: StreamSettings, services: StreamServices, output: Output) {
        self.settings = settings
        self.services = services
        self.output = output
    }

    /// - Parameters:
    ///   - dryRun: prints what would be done, and does nothing.
    ///   - acceptGap: takes a new position after a loss, and keeps the loss on record.
    package func run(dryRun: Bool, acceptGap: Bool) throws(AgentExit) {
        var source = try inspect(acceptGap: acceptGap)
        output.findings((source.findings).filter { $0.severity > .fine })
        guard !source.findings.hasProblem else {
            throw source.findings.exit(.configuration, "init changes nothing before these are settled")
        }
        if dryRun { return try plan(source, acceptGap: acceptGap) }
        // An agent that runs may have been started with other tables, and would pass the rows of one that is added over.
        if acceptGap || !source.added.isEmpty, let holder = source.slot?.holder?.pid {
            throw inUse(holder)
        }
        // The slot before the position: an agent that runs moves both meanwhile.
        let early = try gather().facts
        // Before a loss is accepted, what an agent that was killed had under way comes to its end.
        let producer = acceptGap ? try makeProducer() : nil
        if producer != nil {
            source.slot = try slotNow()
            if let holder = source.slot?.holder?.pid { throw inUse(holder) }
        }
        var existing = try position(isFenced: producer != nil)
        // Judged before anything is made: a publication that is made again would hide that it was gone.
        let isJudged = isJudged(existing, source)
        let gap = isJudged ? try judge(existing, early.slot, added: source.added) : nil
        if let gap, !acceptGap { throw gap.exit }
        if let foreign = StartRefusal.foreign(early, stored: existing?.lsn) { throw foreign.exit }
        try stopped()
        if let gap {
            output.line("gap accepted: \(gap.message)")
            for line in gap.exit.details { output.line("gap accepted: \(line)") }
            // Cut off from here on, the stream would go on as if nothing were lost, once the publication is mended.
            if let known = existing, let producer {
                let noted = known.noting(gap, acceptedAt: services.clock.wall() / 1000)
                try store(noted, by: producer)
                existing = noted
            }
        }
        let isMended = try make(source)
        if let existing, isJudged, gap == nil {
            guard isMended else {
                throw AgentExit(
                    .configuration, "publication \(settings.publication) does not send all that is wanted yet",
                    hints: ["the statements above, by whoever may give them, then sluice run"])
            }
            let existing = try note(existing, source, isAccepted: acceptGap, producer)
            let changed = source.faults.isEmpty ? "nothing was changed" : "the stream goes on where it was"
            output.line(
                "slot \(settings.slot): is there, position \(existing.lsn), epoch \(existing.epoch); there is no gap, \(changed)"
            )
            try stopped()
            // A table that a glob has found since.
            let added = Set(source.faults.compactMap(\.table))
            return try reportExisting(source.tables.filter { added.contains($0.qualifiedName) })
        }
        try makeSlot(after: existing, gap, source, producer, isMended: isMended)
    }

    /// Whether there is a stream that could have a gap.
    private func isJudged(_ existing: StoredPosition?, _ source: Source) -> Bool {
        existing?.state == .streaming || (existing == nil && source.slot != nil)
    }

    /// Why the stream cannot go on; nil if it can.
    /// - Parameter added: what is amiss with tables that are to be published for the first time.
    private func judge(
        _ existing: StoredPosition?, _ slot: StartFacts.Slot?, added: [PublicationFault]
    ) throws(AgentExit) -> StartRefusal? {
        var facts = try gather().facts
        facts.slot = slot
        facts.faults.removeAll { added.contains($0) }
        let stored: StoredPosition
        do throws(StartRefusal) { stored = try StartDecision.judge(existing, facts) } catch { return error }
        let returned = try kafka { () throws(KafkaError) in
            let maker = try TopicMaker(settings, events: services.kafkaEvents, log: services.log)
            return try KafkaDecision.refusal(stored, facts, settings, maker, in: KafkaDecision.cluster(maker))
        }
        if let returned { return returned }
        let compared = try postgres { (_) throws(PostgresError) in
            try HistoryScan.judge(stored, facts, settings, services)
        }
        try stopped()
        switch compared {
        case .fits: return nil
        case .differs(let refusal): return refusal
        case .notCompared(let finding):
            output.findings([finding])
            return nil
        }
    }

    func inUse(_ holder: Int32) -> AgentExit {
        AgentExit(
            .unavailable, "slot \(settings.slot) is in use by walsender \(holder)",
            hints: ["stop the agent that streams from it, then run init again"])
    }

    // MARK: Looking

    struct Source {
        var server: ServerFacts
        var database: String
        var tables: [TableFacts]
        var publication: Publication?
        /// What is wrong with the publication, where there is one.
        var faults: [PublicationFault]
        /// Of these, tables of which nothing was ever streamed: to publish them is no gap.
        var added: [PublicationFault] = []
        var slot: ReplicationSlot?
        var findings: [Finding]
    }

    private func inspect(acceptGap: Bool) throws(AgentExit) -> Source {
        var source = try look()
        source.added = try added(source)
        if source.publication != nil, !acceptGap || source.faults.isEmpty {
            source.findings += Preflight.publication(
                source.publication, named: settings.publication, wanted: source.tables, patterns: settings.tables,
                except: source.added)
        }
        return source
    }

    private func look() throws(AgentExit) -> Source {
        try postgres { (connection) throws(PostgresError) in
            let server = try connection.serverFacts()
            let patterns = settings.tables
            let tables = try connection.tables(matching: patterns)
            let publication = try connection.publication(named: settings.publication)
            let slot = try connection.replicationSlot(named: settings.slot)
            var findings =
                Preflight.server(server, hasSlot: slot != nil)
                + Preflight.synchrony(server, applicationName: settings.applicationName)
                + Preflight.tables(tables, patterns: patterns, server: server, publication: publication)
            findings += Preflight.topics(settings, tables) + Preflight.columns(settings, tables)
            if tables.isEmpty, publication == nil {
                findings.append(Finding(.problem, "postgres.tables", "matches no table: there is nothing to publish"))
            }
            if publication == nil {
                findings += Preflight.rights(
                    toPublish: tables, server, connection.database, statement: createPublication(tables))
            }
            let faults = publication?.faults(of: tables, patterns: patterns) ?? []
            return Source(
                server: server, database: connection.database, tables: tables, publication: publication, faults: faults,
                slot: slot,
                findings: findings)
        }
    }

    private func plan(_ source: Source, acceptGap: Bool) throws(AgentExit) {
        var gap: StartRefusal?
        if acceptGap {
            let existing = try position(isFenced: false)
            let early = try gather().facts
            gap = isJudged(existing, source) ? try judge(existing, early.slot, added: source.added) : nil
            if let foreign = StartRefusal.foreign(early, stored: existing?.lsn) { throw foreign.exit }
        }
        if let gap {
            output.line("-- the gap that would be accepted: \(gap.message)")
            for line in gap.exit.details { output.line("--   \(line)") }
        }
        for table in source.tables where !table.canSelect {
            output.line("-- for the table's owner; verify needs it:")
            output.line(
                "GRANT SELECT ON \(Quoting.qualified(table.schema, table.name)) TO \(Quoting.identifier(source.server.role));"
            )
        }
        if source.publication == nil { output.line(createPublication(source.tables) + ";") }
        for fault in source.faults { output.line((fault.isForInit ? "" : "-- not by init: ") + fault.cure + ";") }
        let isMadeAgain = source.slot != nil && gap.map { start(with: source, after: $0) == nil } ?? false
        if isMadeAgain { output.line("SELECT pg_drop_replication_slot(\(Quoting.literal(settings.slot)));") }
        if source.slot == nil || isMadeAgain {
            // Made by somebody else it would be another's slot: init refuses one without a position.
            output.line(
                "-- slot \(settings.slot), which init makes itself\(takesFailover(source) ? ", for failover" : "")")
        }
        output.line("-- topic \(settings.progressTopic), and one topic for each of \(source.tables.count) tables")
        if let topic = settings.format.deadLetterTopic {
            output.line("-- topic \(topic), for rows that cannot be represented")
        }
    }

    /// Rows from before the slot, or from before a table was published, are not in the stream.
    /// - Parameter streamed: tables that were streamed before a gap: nobody knows which of their rows Kafka has.
    func reportExisting(_ tables: [TableFacts], streamed: Set<String> = []) throws(AgentExit) {
        for table in tables {
            if streamed.contains(table.qualifiedName) {
                output.line(
                    "table \(table.qualifiedName): what was committed in the gap is not sent by itself; what Kafka has stays"
                )
                continue
            }
            guard table.canSelect else {
                output.line(
                    "table \(table.qualifiedName): may not be read, so its existing rows are not counted; only changes from now on are sent"
                )
                continue
            }
            let count: Int64
            do throws(AgentExit) {
                count = try postgres { (connection) throws(PostgresError) in
                    try connection.exactRowCount(
                        schema: table.schema, table: table.name, isPartitioned: table.kind == .partitionedTable)
                }
            } catch {
                // All is made by now.
                output.line(
                    "table \(table.qualifiedName): its existing rows were not counted (\(error.message)); only changes from now on are sent"
                )
                continue
            }
            if count > 0 {
                output.line(
                    "table \(table.schema).\(table.name): its \(count) existing rows will not be sent, only changes from now on"
                )
            }
        }
    }

    // MARK: Errors

    /// Ends where a stop was asked for. What is made by then stays.
    func stopped() throws(AgentExit) {
        guard services.stop.isRequested else { return }
        throw AgentExit(
            .different, "stopped before the end", hints: ["give the same command again: it goes on where it was"])
    }

    func gather() throws(AgentExit) -> (facts: StartFacts, senderTimeout: Int) {
        try postgres { (_) throws(PostgresError) in try StartFacts.gather(settings) }
    }

    func postgres<T>(
        _ body: (inout PostgresConnection) throws(PostgresError) -> T
    ) throws(AgentExit) -> T {
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            return try body(&connection)
        } catch { throw CommandErrors.exit(error) }
    }

    func kafka<T>(_ body: () throws(KafkaError) -> T) throws(AgentExit) -> T {
        do throws(KafkaError) { return try body() } catch { throw CommandErrors.exit(error) }
    }
}
