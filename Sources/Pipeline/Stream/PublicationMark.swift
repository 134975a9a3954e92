package import Postgres

/// What a position remembers of the publication, so that a table is noticed which was taken out of it and put back while nobody
/// looked: what was committed in between is in no stream, and the server says nothing of it (C8).
///
/// The OIDs of entries come from the counter that the tables' come from as well. So an entry is a new one where its OID is above all
/// that there were; and where its table's is not, that table was there before. (A counter that has come around hides it.)
package struct PublicationMark: Equatable, Sendable {
    /// The largest OID of an entry.
    package var newest: UInt32
    /// Of the tables with a list of columns or a filter: which, and what these say.
    package var restrictions: UInt32
    /// The publication's `altered`; nil where an older sluice has written the mark.
    package var altered: UInt32?

    package init(newest: UInt32, restrictions: UInt32 = 0, altered: UInt32? = nil) {
        self.newest = newest
        self.restrictions = restrictions
        self.altered = altered
    }

    package init(of publication: Publication) {
        altered = publication.altered
        newest = publication.tables.flatMap { $0.entries.union($0.schemaEntries) }.max() ?? 0
        // FNV-1a (RFC 9923): the same in every process.
        restrictions = publication.tables.filter { $0.restriction != nil }
            .map { "\($0.oid) \($0.restriction ?? "")\n" }.joined().utf8
            .reduce(0x811C_9DC5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
    }

    /// The tables whose entries are newer than this and that were there before. Whether they were published before, the mark does not
    /// know.
    ///
    /// One ALTER PUBLICATION ... SET makes new entries too, and loses nothing: for another list or filter, or a schema in place of its
    /// tables. So none is told of where any list or filter has changed, and none that its schema publishes.
    package func returned(in publication: Publication) -> [PublishedTable] {
        guard PublicationMark(of: publication).restrictions == restrictions else { return [] }
        return publication.tables.filter { table in
            table.oid < newest && table.schemaEntries.isEmpty && (table.entries.min() ?? 0) > newest
        }
    }
}

extension Publication {
    /// The tables that were taken out of it and put back since it was seen as it was before.
    ///
    /// Not those that are published in another way than before, or that have another schema or root: one statement may have done that.
    package func returned(since before: Publication) -> [PublishedTable] {
        let known = Dictionary(before.tables.map { ($0.oid, $0) }, uniquingKeysWith: { first, _ in first })
        return tables.filter { table in
            guard let known = known[table.oid], known.schema == table.schema, known.restriction == table.restriction,
                known.isNamed == table.isNamed, !known.isRootNamed, !table.isRootNamed,
                known.schemaEntries.isEmpty == table.schemaEntries.isEmpty
            else { return false }
            let (old, new) = (
                known.entries.union(known.schemaEntries), table.entries.union(table.schemaEntries)
            )
            return !old.isEmpty && old.isDisjoint(with: new)
        }
    }

    /// Whether it was seen to publish a table.
    func has(_ oid: UInt32) -> Bool { tables.contains { $0.oid == oid } }
}
