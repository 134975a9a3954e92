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

    package init(newest: UInt32, restrictions: UInt32 = 0) {
        self.newest = newest
        self.restrictions = restrictions
    }

    package init(of publication: Publication) {
        newest = publication.tables.flatMap(\.entries).max() ?? 0
        // FNV-1a (RFC 9923): the same in every process.
        restrictions = publication.tables.filter { $0.restriction != nil }
            .map { "\($0.oid) \($0.restriction ?? "")\n" }.joined().utf8
            .reduce(0x811C_9DC5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
    }

    /// The tables whose entries are newer than this and that were there before. Whether they were streamed before, the mark does not
    /// know.
    ///
    /// ALTER PUBLICATION ... SET TABLE with another list or filter makes a new entry as well, and loses nothing: such a table is not
    /// among them where lists or filters have changed.
    package func returned(in publication: Publication) -> [PublishedTable] {
        let isChanged = PublicationMark(of: publication).restrictions != restrictions
        return publication.tables.filter { table in
            table.oid < newest && (table.entries.min() ?? 0) > newest && !(isChanged && table.restriction != nil)
        }
    }
}

extension Publication {
    /// The tables that were taken out of it and put back since it was seen as it was before.
    package func returned(since before: Publication) -> [PublishedTable] {
        let known = Dictionary(before.tables.map { ($0.oid, $0) }, uniquingKeysWith: { first, _ in first })
        return tables.filter { table in
            guard let known = known[table.oid] else { return false }
            return !known.entries.isEmpty && known.entries.isDisjoint(with: table.entries)
                && known.restriction == table.restriction
        }
    }
}
