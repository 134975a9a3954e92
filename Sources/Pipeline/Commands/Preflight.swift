import ChangeData
package import Postgres

/// Judges what PostgreSQL has, before a publication makes an application's UPDATE fail (trap 61) or a slot is refused.
package enum Preflight {
    /// The server and the role.
    package static func server(_ facts: ServerFacts, hasSlot: Bool) -> [Finding] {
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
            findings.append(
                Finding(
                    .problem, "max_wal_senders", "all \(facts.maxWALSenders) are in use",
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
                Finding(.warning, "encoding", "the database is \(facts.encoding); text is converted to UTF-8"))
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

    /// A publication needs a right that the owner of a table does not have by itself.
    static func mayNotPublish(_ facts: ServerFacts, _ database: String) -> Finding {
        Finding(
            .problem, "role", "\(facts.role) may not make a publication in database \(database)",
            fixes: [
                "GRANT CREATE ON DATABASE \(Quoting.identifier(database)) TO \(Quoting.identifier(facts.role));"
            ])
    }

    /// The tables that the configuration names.
    /// - Parameter role: whose rights they have to give.
    package static func tables(_ tables: [TableFacts], patterns: [TablePattern], role: String) -> [Finding] {
        var findings: [Finding] = []
        for pattern in patterns.absent(from: tables) {
            findings.append(
                Finding(
                    pattern.isGlob ? .warning : .problem, "table \(pattern)",
                    pattern.isGlob ? "matches no table yet" : "does not exist, or the role may not see its schema"))
        }
        return findings + tables.flatMap { table($0, role) }
    }

    private static func table(_ table: TableFacts, _ role: String) -> [Finding] {
        let subject = "table \(table.schema).\(table.name)"
        let name = Quoting.qualified(table.schema, table.name)
        if table.kind != .table, table.kind != .partitionedTable {
            return [Finding(.problem, subject, "is no ordinary table: only tables are decoded")]
        }
        if table.persistence != .permanent {
            return [
                Finding(
                    .problem, subject, "is unlogged or temporary: its changes are not in the WAL",
                    fixes: ["ALTER TABLE \(name) SET LOGGED;"])
            ]
        }
        guard let identity = table.identityColumns, !identity.isEmpty else {
            return [
                Finding(
                    .problem, subject,
                    "has no usable key: its rows cannot be keyed, and publishing it would make UPDATE and DELETE fail",
                    fixes: keyFixes(table, name))
            ]
        }
        if table.replicaIdentity == .full {
            guard let key = table.primaryKey, !key.isDeferrable else {
                return [
                    Finding(
                        .problem, subject, "has replica identity FULL and no primary key: its rows cannot be keyed",
                        fixes: keyFixes(table, name))
                ]
            }
            if table.columns.contains(where: { $0.generated == .stored }) {
                return [
                    Finding(
                        .warning, subject,
                        "has replica identity FULL and a stored generated column: PostgreSQL 18 refuses UPDATE and DELETE of it",
                        fixes: ["ALTER TABLE \(name) REPLICA IDENTITY DEFAULT;"])
                ]
            }
        }
        var findings = [
            Finding(
                .fine, subject,
                "keyed by \((table.replicaIdentity == .full ? table.primaryKey?.columns ?? [] : identity).joined(separator: ", "))"
            )
        ]
        findings += table.weakLeaves.map { leaf in
            // The primary key, which is the record's where the root is FULL, comes all the same.
            let hasKey = table.replicaIdentity == .full && leaf.identity == .primaryKey
            return Finding(
                hasKey ? .warning : .problem, subject,
                "partition \(leaf.name) has another replica identity: "
                    + (hasKey
                        ? "of its old rows only the key is sent, other columns are shown as null"
                        : "its deletes and changes of keys come without the key, or fail"),
                fixes: ["ALTER TABLE \(leaf.name) REPLICA IDENTITY FULL;"])
        }
        findings += table.unloggedLeaves.map { leaf in
            Finding(
                .problem, subject, "partition \(leaf) is unlogged: its rows are in no WAL",
                fixes: ["ALTER TABLE \(leaf) SET LOGGED; -- or detach it"])
        }
        findings += table.foreignLeaves.map { leaf in
            Finding(.warning, subject, "partition \(leaf) is a foreign table: what is written to it is not streamed")
        }
        if !table.heirs.isEmpty {
            let shown = table.heirs.prefix(5).joined(separator: ", ") + (table.heirs.count > 5 ? ", ..." : "")
            findings.append(
                Finding(
                    .warning, subject,
                    "others inherit from it, whose rows come under their own names, if they are published and in postgres.tables: \(shown)"
                ))
        }
        if !table.canSelect {
            findings.append(
                Finding(
                    .warning, subject, "the role may not read it: verify will not work",
                    fixes: ["GRANT SELECT ON \(name) TO \(Quoting.identifier(role));"]))
        }
        if table.hasRowSecurity {
            findings.append(Finding(.warning, subject, "has row security: verify may not see all its rows"))
        }
        return findings
    }

    private static func keyFixes(_ table: TableFacts, _ name: String) -> [String] {
        if let key = table.primaryKey, key.isDeferrable {
            return [
                "ALTER TABLE \(name) ALTER CONSTRAINT \(Quoting.identifier(key.name)) NOT DEFERRABLE; -- or make the key anew"
            ]
        }
        if table.primaryKey != nil { return ["ALTER TABLE \(name) REPLICA IDENTITY DEFAULT;"] }
        return ["ALTER TABLE \(name) ADD PRIMARY KEY (...);"]
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
