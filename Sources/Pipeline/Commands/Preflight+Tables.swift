import ChangeData
package import Postgres

extension Preflight {
    /// The tables that the configuration names.
    /// - Parameters:
    ///   - server: its version, and the role whose rights they have to give.
    ///   - publication: the one that is there; nil where `init` is to make it.
    package static func tables(
        _ tables: [TableFacts], patterns: [TablePattern], server: ServerFacts, publication: Publication?
    ) -> [Finding] {
        var findings: [Finding] = []
        for pattern in patterns.absent(from: tables) {
            findings.append(
                Finding(
                    pattern.isGlob ? .warning : .problem, "table \(pattern)",
                    pattern.isGlob ? "matches no table yet" : "does not exist, or the role may not see its schema"))
        }
        return findings + (publication?.viaPartitionRoot ?? true ? nested(tables) : [])
            + tables.flatMap { table($0, server, publication) }
    }

    /// Partitions that are named beside a table that they are partitions of: their rows come under its name alone.
    private static func nested(_ tables: [TableFacts]) -> [Finding] {
        tables.compactMap { table in
            guard table.partitionRoot != nil,
                let root = tables.first(where: {
                    $0.oid != table.oid && ($0.oid == table.partitionRoot || $0.partitionLeaves.contains(table.oid))
                })
            else { return nil }
            return Finding(
                .problem, "table \(table.qualifiedName)",
                "is a partition of \(root.qualifiedName), under whose name its rows come",
                fixes: ["take \(table.qualifiedName) out of postgres.tables"])
        }
    }

    private static func table(_ table: TableFacts, _ server: ServerFacts, _ publication: Publication?) -> [Finding] {
        let subject = "table \(table.qualifiedName)"
        let name = Quoting.qualified(table.schema, table.name)
        if !table.kind.isDecoded {
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
        var key = identity
        if table.replicaIdentity == .full {
            guard let primary = table.primaryKey, !primary.isDeferrable else {
                return [
                    Finding(
                        .problem, subject,
                        "has replica identity FULL and no primary key\(table.primaryKey == nil ? "" : " that is never deferred"): its rows cannot be keyed",
                        fixes: keyFixes(table, name))
                ]
            }
            key = primary.columns
        }
        let generated = generated(table, key, server, publication)
        var findings =
            generated.contains { $0.severity == .problem }
            ? generated : [Finding(.fine, subject, "keyed by \(key.joined(separator: ", "))")] + generated
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
        findings += merging(table, key)
        // 790 money, 791 money[]: pg_type's own.
        findings += table.columns.filter { [790, 791].contains($0.domainBase ?? $0.typeOID) }.map { column in
            Finding(
                .warning, subject,
                "column \(column.name) is money, which is read with two decimals: where lc_monetary has another number of them, its values are wrong by powers of ten",
                fixes: ["ALTER TABLE \(name) ALTER COLUMN \(Quoting.identifier(column.name)) TYPE numeric;"])
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
            let role = Quoting.identifier(server.role)
            findings.append(
                Finding(
                    .warning, subject, "the role may not read it: verify will not work",
                    fixes: [
                        "GRANT USAGE ON SCHEMA \(Quoting.identifier(table.schema)) TO \(role);",
                        "GRANT SELECT ON \(name) TO \(role);",
                    ]))
        }
        if table.hasRowSecurity {
            findings.append(Finding(.warning, subject, "has row security: verify may not see all its rows"))
        }
        return findings
    }

    /// Columns of the key whose different values may be written alike: of two rows one would be left downstream.
    private static func merging(_ table: TableFacts, _ key: [String]) -> [Finding] {
        let name = Quoting.qualified(table.schema, table.name)
        return table.columns.filter { key.contains($0.name) }.compactMap { column in
            let why: String
            if column.isArray {
                why = "an array, which is written without its bounds: '{1,2}' and '[0:1]={1,2}'"
            } else if (column.domainBase ?? column.typeOID) == 1266 {
                // 1266 timetz: pg_type's own.
                why = "a time with time zone, which is written as UTC: '23:00-05' and '04:00+00'"
            } else {
                return nil
            }
            return Finding(
                .warning, "table \(table.qualifiedName)",
                "is keyed by \(column.name), \(why) are two rows here, and one key downstream",
                fixes: ["ALTER TABLE \(name) REPLICA IDENTITY USING INDEX ...; -- a unique one of other columns"])
        }
    }

    /// What generated columns do: before PostgreSQL 18 none is sent, later stored ones where the publication says so. What must be
    /// sent and is not makes the application's UPDATE and DELETE fail on 18, and records without their key before.
    private static func generated(
        _ table: TableFacts, _ key: [String], _ server: ServerFacts, _ publication: Publication?
    ) -> [Finding] {
        let subject = "table \(table.qualifiedName)"
        let name = Quoting.qualified(table.schema, table.name)
        let refuses = server.version >= 180_000
        let list = publication?.tables.first { $0.oid == table.oid }?.columns
        let unsent = table.columns.filter { column in
            switch column.generated {
            case .never: false
            case .virtual: true
            case .stored:
                !refuses || !(publication?.publishesGeneratedColumns ?? false) && !(list ?? []).contains(column.name)
            }
        }
        if let column = unsent.first(where: { key.contains($0.name) }) {
            return [
                Finding(
                    .problem, subject,
                    "is keyed by a generated column, \(column.name), which is not sent: "
                        + (refuses ? "publishing it would make UPDATE and DELETE fail" : "its rows cannot be keyed"),
                    fixes: ["ALTER TABLE \(name) REPLICA IDENTITY USING INDEX ...; -- a unique one of other columns"]
                        + (refuses ? publishing(publication) : []))
            ]
        }
        guard table.replicaIdentity == .full, let column = unsent.first else { return [] }
        let isStored = column.generated == .stored
        return [
            Finding(
                refuses ? .problem : .warning, subject,
                "has replica identity FULL and a generated column that is not sent, \(column.name): "
                    + (refuses
                        ? "publishing it would make UPDATE and DELETE fail"
                        : "PostgreSQL 18 refuses UPDATE and DELETE of it"),
                fixes: ["ALTER TABLE \(name) REPLICA IDENTITY DEFAULT;"]
                    + (refuses && isStored ? publishing(publication) : []))
        ]
    }

    /// Where there is none yet, its owner may make it with this.
    private static func publishing(_ publication: Publication?) -> [String] {
        guard let publication else { return [] }
        return ["ALTER PUBLICATION \(Quoting.identifier(publication.name)) SET (publish_generated_columns = stored);"]
    }

    private static func keyFixes(_ table: TableFacts, _ name: String) -> [String] {
        if let key = table.primaryKey, key.isDeferrable {
            return [
                "ALTER TABLE \(name) DROP CONSTRAINT \(Quoting.identifier(key.name)), ADD PRIMARY KEY (\(key.columns.map(Quoting.identifier).joined(separator: ", ")));"
            ]
        }
        if table.primaryKey != nil { return ["ALTER TABLE \(name) REPLICA IDENTITY DEFAULT;"] }
        return ["ALTER TABLE \(name) ADD PRIMARY KEY (...);"]
    }
}
