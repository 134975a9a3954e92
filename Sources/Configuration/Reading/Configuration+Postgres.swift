extension Configuration {
    static func readPostgres(_ section: Section, name: String) -> Postgres {
        let isStreaming = section.context.purpose.streams
        let window = section.section("replay_window")
        let ownName = "sluice_\(name)"
        return Postgres(
            url: readURL(section, required: isStreaming),
            password: section.secret("password", wanted: isStreaming),
            tables: readTables(section),
            slot: section.parsed("slot", allowed: "a-z, 0-9 and _, at most 63 characters") {
                isSlotName($0, atMost: 63) ? $0 : nil
            } ?? ownName,
            publication: section.parsed("publication", allowed: "1 to 63 bytes, no control characters") { text in
                (1...63).contains(text.utf8.count) && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } ? text : nil
            } ?? ownName,
            streaming: section.choice("streaming", .off),
            replayWindow: ReplayWindow(
                age: window.duration("age"), bytes: window.size("bytes", 0...Int.max)))
    }

    /// Only the shape is checked here: libpq parses it, and no message may hold a piece of it.
    private static func readURL(_ section: Section, required: Bool) -> Secret {
        guard section.has("url") else {
            let variables = ["PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE"]
            if required, !variables.contains(where: { section.context.variable($0) != nil }) { section.missing("url") }
            return Secret("")
        }
        guard section.context.purpose != .status, let text = section.text("url") else { return Secret("") }
        let isURI = text.hasPrefix("postgresql://") || text.hasPrefix("postgres://")
        if !isURI && !text.contains("=") {
            section.report("url", "is neither postgresql://... nor key=value pairs")
        }
        return Secret(text)
    }

    private static func readTables(_ section: Section) -> [ConfiguredTable] {
        guard section.has("tables") else {
            section.missing("tables")
            return []
        }
        let texts = section.list("tables", commas: false)
        var tables: [ConfiguredTable] = []
        for text in texts {
            guard let pattern = ConfiguredTable(text.text) else {
                let hint = text.text.contains(".") || text.text.isEmpty ? "" : " (did you mean public.\(text.shown)?)"
                section.report(
                    "tables", "\"\(text.shown)\" is not schema.table; wildcards * and ? are allowed in both\(hint)")
                continue
            }
            if tables.contains(pattern) {
                section.report("tables", "\(pattern) is given twice")
            } else {
                tables.append(pattern)
            }
        }
        if texts.isEmpty { section.report("tables", "names no table\(section.hint("tables"))") }
        return tables
    }
}
