import ChangeData
package import Postgres

/// Judges what PostgreSQL has, before a publication makes an application's UPDATE fail (trap 61) or a slot is refused.
package enum Preflight {
    /// The server and the role.
    /// - Parameter isStreaming: whether the slot is in use, as by an agent that runs.
    package static func server(_ facts: ServerFacts, hasSlot: Bool, isStreaming: Bool = false) -> [Finding] {
        var findings: [Finding] = []
        let version = facts.version / 10_000
        findings.append(Finding(.fine, "server", "PostgreSQL \(version), system identifier \(facts.systemID)"))
        if facts.walLevel != "logical" {
            findings.append(
                Finding(
                    .problem, "wal_level", "is \(facts.walLevel), must be logical",
                    fixes: ["ALTER SYSTEM SET wal_level = 'logical'; -- then restart the server"]))
        }
        if facts.isInRecovery, facts.version < 160_000 {
            findings.append(Finding(.problem, "server", "is a standby: logical decoding there needs PostgreSQL 16"))
        }
        if !hasSlot, facts.usedReplicationSlots >= facts.maxReplicationSlots {
            findings.append(
                Finding(
                    .problem, "max_replication_slots", "all \(facts.maxReplicationSlots) are in use",
                    fixes: [
                        "ALTER SYSTEM SET max_replication_slots = \(facts.maxReplicationSlots + 5); -- then restart"
                    ]))
        }
        if facts.usedWALSenders >= facts.maxWALSenders {
            let all = "all \(facts.maxWALSenders) are in use"
            findings.append(
                Finding(
                    isStreaming ? .warning : .problem, "max_wal_senders",
                    isStreaming ? "\(all), one by the stream itself: replay and verify have none" : all,
                    fixes: ["ALTER SYSTEM SET max_wal_senders = \(facts.maxWALSenders + 5); -- then restart"]))
        }
        if !facts.roleCanReplicate, !facts.roleIsSuperuser {
            findings.append(
                Finding(
                    .problem, "role", "\(facts.role) may not replicate",
                    fixes: [
                        "ALTER ROLE \(Quoting.identifier(facts.role)) REPLICATION; -- on Amazon RDS: GRANT rds_replication TO it"
                    ]))
        }
        if let libraries = facts.outputPluginLibraries,
            !libraries.split(separator: ",").contains(where: { $0.trimmed == "pgoutput" || $0.trimmed == "*" })
        {
            findings.append(
                Finding(
                    .problem, "output_plugin_libraries", "does not allow pgoutput: \(libraries)",
                    fixes: [
                        "ALTER SYSTEM SET output_plugin_libraries = 'pgoutput, test_decoding'; SELECT pg_reload_conf();"
                    ]))
        }
        if facts.encoding != "UTF8" {
            findings.append(
                Finding(
                    .warning, "encoding",
                    facts.encoding == "SQL_ASCII"
                        ? "the database is SQL_ASCII, which converts nothing: text that is not UTF-8 cannot be published, and a table with such a name is matched by nothing"
                        : "the database is \(facts.encoding); text is converted to UTF-8"))
        }
        if facts.maxSlotWALKeepMebibytes < 0 {
            findings.append(
                Finding(
                    .warning, "max_slot_wal_keep_size",
                    "is off: an agent that is away for long fills the server's disk; watch sluice_slot_retained_wal_bytes"
                ))
        }
        return findings
    }

    /// A publication is made by the owner of its tables, who needs another right for it as well.
    /// - Parameter statement: what makes it.
    package static func rights(
        toPublish tables: [TableFacts], _ facts: ServerFacts, _ database: String, statement: String
    ) -> [Finding] {
        if let foreign = tables.first(where: { !$0.isOwner }) {
            return [
                Finding(
                    .problem, "role",
                    "\(facts.role) does not own \(foreign.qualifiedName), and so may not make a publication of it",
                    fixes: ["\(statement); -- as the owner of all these tables"])
            ]
        }
        if facts.canCreateInDatabase { return [] }
        return [
            Finding(
                .problem, "role", "\(facts.role) may not make a publication in database \(database)",
                fixes: [
                    "GRANT CREATE ON DATABASE \(Quoting.identifier(database)) TO \(Quoting.identifier(facts.role));"
                ])
        ]
    }

    /// The topics that must be there: the tables', and that of dead letters.
    static func topicNames(_ settings: StreamSettings, _ tables: [TableFacts]) -> [String] {
        tableTopics(settings, tables) + [settings.format.deadLetterTopic].compactMap(\.self)
    }

    /// The tables' topics; none for a table whose topic cannot be named, which `topics` reports.
    static func tableTopics(_ settings: StreamSettings, _ tables: [TableFacts]) -> [String] {
        tables.compactMap { table in
            try? topicName(
                template: settings.format.topicTemplate, name: settings.name, schema: table.schema, table: table.name)
        }
    }

    /// Names that Kafka does not take, or that two tables would share.
    static func topics(_ settings: StreamSettings, _ tables: [TableFacts]) -> [Finding] {
        do throws(TopicError) {
            try checkTopics(
                settings.format, tables: tables.map { TableName(schema: $0.schema, name: $0.name) })
            return []
        } catch { return [Finding(.problem, "kafka.topic", error.description)] }
    }

    /// Columns that flat records have a member of their own for.
    static func columns(_ settings: StreamSettings, _ tables: [TableFacts]) -> [Finding] {
        guard settings.format.envelope == .flat else { return [] }
        return tables.flatMap { table in
            table.columns.filter { reservedColumns.contains($0.name) }.map { column in
                Finding(
                    .problem, "table \(table.qualifiedName)",
                    "has a column \(column.name), which flat records use for themselves: its first row would stop the stream",
                    fixes: ["events.envelope: debezium", "another name for the column"])
            }
        }
    }

    /// The publication against the tables that are wanted.
    package static func publication(
        _ publication: Publication?, named name: String, wanted: [TableFacts], patterns: [TablePattern],
        except mended: [PublicationFault] = []
    ) -> [Finding] {
        let subject = "publication \(name)"
        guard let publication else { return [Finding(.problem, subject, "does not exist", fixes: ["sluice init"])] }
        let faults = publication.faults(of: wanted, patterns: patterns).filter { !mended.contains($0) }
        var findings = faults.map { fault in
            Finding(.problem, subject, "\(fault.text): such changes are not streamed", fixes: ["\(fault.cure);"])
        }
        if !publication.truncate {
            findings.append(
                Finding(.warning, subject, "does not publish truncate: a truncated table keeps its rows downstream"))
        }
        for table in publication.tables where table.isFiltered {
            findings.append(Finding(.warning, subject, "filters the rows of \(table.schema).\(table.name)"))
        }
        if findings.isEmpty { findings.append(Finding(.fine, subject, "publishes all \(wanted.count) tables")) }
        return findings
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}
