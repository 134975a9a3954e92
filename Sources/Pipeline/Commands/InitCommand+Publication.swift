import ChangeData
import Kafka
import Postgres
import Threads

/// The topics and the publication: made, mended, or given more tables.
extension InitCommand {
    /// Tables of a stream that are to be published, and of which nothing was ever streamed.
    func added(_ source: Source) throws(AgentExit) -> [PublicationFault] {
        guard source.faults.contains(where: \.isAbsent), try position(isFenced: false)?.state == .streaming else {
            return []
        }
        return try kafka { () throws(KafkaError) in
            let maker = try TopicMaker(settings, events: services.kafkaEvents, log: services.log)
            var added: [PublicationFault] = []
            for table in source.tables {
                guard let fault = source.faults.first(where: { $0.isAbsent && $0.table == table.qualifiedName }),
                    let topic = Preflight.tableTopics(settings, [table]).first
                else { continue }
                let count = try maker.partitions(of: topic) ?? 0
                if try maker.isEmpty(topic, partitions: count) { added.append(fault) }
            }
            return added
        }
    }

    func createPublication(_ tables: [TableFacts]) -> String {
        let names = tables.map { Quoting.qualified($0.schema, $0.name) }.joined(separator: ", ")
        return """
            CREATE PUBLICATION \(Quoting.identifier(settings.publication)) FOR TABLE \(names) \
            WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)
            """
    }

    /// Answers whether the publication sends all that is wanted, as far as that was for us to do.
    func make(_ source: Source) throws(AgentExit) -> Bool {
        let maker = try kafka { () throws(KafkaError) in
            try TopicMaker(settings, events: services.kafkaEvents, log: services.log)
        }
        do throws(TopicMaker.Problem) {
            for topic in Preflight.topicNames(settings, source.tables) { _ = try maker.ensure(topic) }
            try maker.ensureProgress()
        } catch { throw error.exit }
        var isMended = true
        var isChanged = false
        for fault in source.faults where !fault.isForInit {
            isMended = false
            output.line("publication \(settings.publication) \(fault.text), until somebody gives: \(fault.cure);")
        }
        for cure in source.faults.filter(\.isForInit).map(\.cure) {
            let isDone = try postgres { (connection) throws(PostgresError) in
                do throws(PostgresError) {
                    try define(cure, on: &connection)
                    return true
                } catch {
                    guard error.kind == .permission else { throw error }
                    return false
                }
            }
            isMended = isMended && isDone
            isChanged = isChanged || isDone
            output.line(
                isDone
                    ? "publication \(settings.publication): mended, \(cure)"
                    : "publication \(settings.publication): nothing comes of it until the owner of publication and table gives: \(cure);"
            )
        }
        if isChanged {
            let changed = Set(source.faults.compactMap(\.table))
            try awaitWriters(of: source.tables.filter { changed.contains($0.qualifiedName) })
        }
        guard source.publication == nil else { return isMended }
        try postgres { (connection) throws(PostgresError) in
            try define(createPublication(source.tables), on: &connection)
        }
        output.line("publication \(settings.publication): made for \(source.tables.count) tables")
        return true
    }

    private func define(_ sql: String, on connection: inout PostgresConnection) throws(PostgresError) {
        try Definition(sql: sql, settings: settings.postgres, output: output).run(on: &connection)
    }

    /// Waits for the transactions that had written to these tables when the publication was changed: what they wrote before that is not
    /// sent, also where they commit later. Only then its rows are counted. Not past a stop: all else that belongs to the change follows.
    private func awaitWriters(of tables: [TableFacts]) throws(AgentExit) {
        let oids = tables.flatMap { [$0.oid] + $0.partitionLeaves }
        var awaited: Set<String>?
        var waited = 0
        let wakeup = Wakeup()
        services.stop.register(wakeup)
        defer { services.stop.unregister(wakeup) }
        while !services.stop.isRequested {
            let now = try postgres { (connection) throws(PostgresError) in try connection.writers(of: oids) }
            let left = now.intersection(awaited ?? now)
            if left.isEmpty { return }
            awaited = left
            waited += 1
            if waited % 10 == 1 {
                output.line(
                    "waiting for \(left.count) transactions that have written to what is published now (\(waited / 2) s): \(left.sorted().joined(separator: ", "))"
                )
            }
            wakeup.wait(milliseconds: 500)
        }
    }
}
