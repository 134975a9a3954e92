package import Postgres
import Telemetry

/// A table of which the publication sends other rows, or other columns of them, than before. Nothing in the stream shows what it holds back,
/// and nobody can tell whether that is meant (C8).
package struct RestrictionChange: Equatable, Sendable {
    /// The table, `schema.table`.
    package var table: String
    /// What is different, to follow the table's name.
    package var text: String
}

extension Publication {
    /// The wanted tables whose row filter or list of columns is not what it was before. At the next look that is forgotten: this one is then
    /// what was before.
    package func restrictionChanges(since before: Publication, of patterns: [TablePattern]) -> [RestrictionChange] {
        let known = Dictionary(before.tables.map { ($0.oid, $0) }, uniquingKeysWith: { first, _ in first })
        return tables.compactMap { table in
            guard let known = known[table.oid], known.restriction != table.restriction, table.matches(patterns) else {
                return nil
            }
            let texts = [
                table.filterChange(since: known.filter), table.listChange(since: known.list, known.columns),
            ]
            return RestrictionChange(
                table: table.qualifiedName, text: texts.compactMap(\.self).joined(separator: "; "))
        }
    }
}

extension PublishedTable {
    /// What `restriction` says of the filter: the tree that the server has made of it, which begins with a brace.
    fileprivate var filter: Substring? {
        restriction.flatMap { text in text.firstIndex(of: "{").map { text[$0...] } }
    }

    /// What it says of the list: the columns' numbers.
    fileprivate var list: Substring? {
        let numbers = restriction?.prefix { $0 != "{" }
        return numbers?.contains { $0 != " " } == true ? numbers : nil
    }

    fileprivate func filterChange(since before: Substring?) -> String? {
        switch (before, filter) {
        case (nil, nil): nil
        case (nil, _): "has a row filter: rows that it does not let through are not sent"
        case (_, nil): "has no row filter any more: rows that it has held back are in no topic"
        case (let before, let now) where before != now:
            "has another row filter: rows that either of the two does not let through are in no topic"
        default: nil
        }
    }

    fileprivate func listChange(since before: Substring?, _ columnsBefore: [String]?) -> String? {
        func names(_ columns: [String]?) -> String { (columns ?? []).joined(separator: ", ") }
        switch (before, list) {
        case (nil, nil): return nil
        case (nil, _): return "is sent with a list of columns (\(names(columns))): what others hold is not sent"
        case (_, nil):
            return
                "is sent with all its columns again: what others than \(names(columnsBefore)) were given is in no topic"
        case (let before, let now) where before?.trimmed != now?.trimmed:
            return "is sent with another list of columns (\(names(columns)), before \(names(columnsBefore)))"
        default: return nil
        }
    }
}

extension Substring {
    fileprivate var trimmed: Substring { last == " " ? dropLast().trimmed : self }
}

extension StreamServices {
    /// Rows may have gone by the stream, and nothing in it shows them: counted, and told of (C8).
    func rowsNotSent(_ message: StaticString, _ metadata: KeyValuePairs<String, LogValue>) {
        state.failed("postgres", kind: "rows_not_sent")
        log.warning(message, metadata)
    }

    /// Takes the publication as it is at a start, and tells how it was changed since the position was written.
    func note(_ publication: Publication?, since mark: PublicationMark?) {
        guard let publication else { return }
        note(publication, alteredSince: mark?.altered)
        if let mark, mark.restrictions != PublicationMark(of: publication).restrictions {
            rowsNotSent(
                "row filters or lists of columns of the publication are not what they were at the stored position: what they held back is in no topic, and sluice verify says whether anything is missing",
                ["publication": .init(publication.name)])
        }
        state.saw(publication)
    }

    /// Takes the publication as it is while it streams, and tells how it was changed since it was as it was before.
    /// - Parameter patterns: the tables that are wanted.
    func note(_ now: Publication, since before: Publication?, of patterns: [TablePattern]) {
        note(now, alteredSince: before?.altered)
        let changes = before.map { now.restrictionChanges(since: $0, of: patterns) } ?? []
        for change in changes {
            rowsNotSent(
                "the publication restricts a table in another way than before: sluice verify says whether anything is missing",
                ["publication": .init(now.name), "table": .init(change.table), "change": .init(change.text)])
        }
        state.saw(now)
    }

    /// Tells that a publication was altered since it was as it was before, nil where that is not known. It may have sent less for a moment,
    /// and nothing in the stream shows it; or the statement was harmless, and nobody can tell either.
    private func note(_ now: Publication, alteredSince before: UInt32?) {
        guard let before, now.altered != before else { return }
        rowsNotSent(
            "the publication was altered (options, name or owner): what it did not send for a moment is in no topic, and sluice verify says whether anything is missing",
            ["publication": .init(now.name)])
    }
}
