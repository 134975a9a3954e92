import ChangeData
import Postgres
import Telemetry

/// Asks the catalog what the replication stream does not say of a table: the order of its key, and what its types are made
/// of. The connection is opened when it is needed and closed when it was not for a while: to open one takes twenty times as long
/// as a question, and many tables come one after the other. Where they do, their keys are asked for all at once.
struct RelationDescriber: ~Copyable {
    private let patterns: [TablePattern]
    private let clock: Clock
    private let log: Logger
    private var connection: PostgresConnection?
    /// Monotonic nanoseconds of the last question.
    private var askedAt: Int64 = .min / 2
    /// When an answer is of no use any more, monotonic nanoseconds.
    private var until: Int64 = .max
    private var published: PublishedKeys?
    /// When all keys may be asked for again, monotonic nanoseconds.
    private var askAllFrom: Int64 = .min
    /// The names under which wanted tables have come, and the tables that were passed over.
    private var wanted: [UInt32: TableName] = [:]
    /// The table that each of these names was seen for last: one that took another's name takes its place above.
    private var holders: [TableName: UInt32] = [:]
    private var passedOver: Set<UInt32> = []
    /// Tables that the publication was looked at for.
    private var looked: Set<UInt32> = []

    /// How long a connection is kept for the next question, nanoseconds.
    private static let keptFor: Int64 = .seconds(5)

    /// Of the time no more than one part in so many goes into questions for all keys.
    private static let allShare: Int64 = 20

    init(patterns: [TablePattern], clock: Clock, log: Logger) {
        self.patterns = patterns
        self.clock = clock
        self.log = log
    }

    /// All questions of the call that follows have until then: who asks keeps a walsender waiting meanwhile.
    mutating func begin(until: Int64) { self.until = until }

    /// Whether transactions may come from another server. Protocol 2 tells it of those alone whose very first change says so,
    /// and never where they were committed there.
    mutating func hasOrigins(settings: StreamSettings) throws(SessionFailure) -> Bool {
        try ask(settings) { (open) throws(PostgresError) in
            try open.query("SELECT FROM pg_catalog.pg_replication_origin LIMIT 1", []).count > 0
        }
    }

    /// - Parameter xid: the transaction that the relation was announced in, where that is known.
    mutating func describe(
        _ relation: Relation, in xid: UInt32?, settings: StreamSettings
    ) throws(SessionFailure) -> TableDescription {
        guard patterns.match(schema: relation.table.schema, table: relation.table.name) else {
            let isPartition = try passOver(relation, settings)
            return TableDescription(primaryKey: [], isIgnored: true, isTold: isPartition)
        }
        wanted[relation.oid] = relation.table
        if let former = holders.updateValue(relation.oid, forKey: relation.table), former != relation.oid,
            wanted[former] == relation.table
        {
            wanted[former] = nil
        }
        let keys = try keys(of: relation.oid, in: xid, settings)
        let unknown = Set(relation.columns.map(\.typeOID).filter { $0 >= PostgresType.firstDescribed })
        var types: [TypeFacts] = []
        if !unknown.isEmpty {
            types = try ask(settings) { (open) throws(PostgresError) in try open.types(oids: unknown) }
        }
        return Self.description(
            primaryKey: keys.primary, identityIndex: keys.identity, types: types)
    }

    /// The publication as it is now, once for each table that it was not seen to have.
    mutating func publication(
        having oid: UInt32, unlike before: Publication?, _ settings: StreamSettings
    ) throws(SessionFailure) -> Publication? {
        guard let before, !before.has(oid), looked.insert(oid).inserted else { return nil }
        return try ask(settings) { (open) throws(PostgresError) in try open.publication(named: settings.publication) }
    }

    /// A table that is published, and that nobody wants. It may be one that somebody does, by another name: where a table that is
    /// named is not there, and this one was wanted or is in the publication by its own name, its changes are not passed over.
    /// - Returns: whether it was found to be a partition of a wanted table, whose rows come as that one's.
    private mutating func passOver(_ relation: Relation, _ settings: StreamSettings) throws(SessionFailure) -> Bool {
        let isNew = passedOver.insert(relation.oid).inserted
        let before = wanted.removeValue(forKey: relation.oid)
        guard isNew || before != nil else { return false }
        let names = patterns.filter { !$0.isGlob }
        let found = try ask(settings) { [patterns] (open) throws(PostgresError) -> Stranger in
            // The server announces each partition beside its root, and sends its rows as the root's.
            let roots = before == nil ? try open.ancestors(of: relation.oid) : []
            if roots.contains(where: { patterns.match(schema: $0.schema, table: $0.name) }) { return .partition }
            let parent = try open.parents(of: relation.oid).first { patterns.match(schema: $0.schema, table: $0.name) }
            if before == nil, let parent { return .heir(of: "\(parent.schema).\(parent.name)") }
            let there = names.isEmpty ? [] : try open.tables(matching: names)
            guard let missing = names.absent(from: there).first else { return .other }
            if before != nil { return .renamed(from: missing) }
            let publication = try open.publication(named: settings.publication)
            let found = publication?.tables.first { $0.oid == relation.oid }
            return found?.isNamed == true || found?.isRootNamed == true ? .renamed(from: missing) : .other
        }
        switch found {
        case .partition: return true
        case .heir(let parent):
            log.warning(
                "a table that inherits from one of postgres.tables matches nothing there: its changes are passed over",
                ["table": .init(relation.table), "inherits from": .init(parent)])
        case .renamed(let from):
            let refusal = StartRefusal.missing(
                from.description, [relation.table.description], stored: nil, available: nil)
            throw .exit(refusal.exit)
        case .other:
            log.log(
                before == nil ? .info : .warning,
                "a published table matches nothing in postgres.tables: its changes are passed over",
                ["table": .init(relation.table), "before": .init(before?.description ?? "-")])
        }
        return false
    }

    private enum Stranger {
        /// Of a table that is wanted.
        case partition
        /// Its rows are also those of a table that is wanted, in queries.
        case heir(of: String)
        /// Perhaps a table that is named and is not there.
        case renamed(from: TablePattern)
        case other
    }

    /// What was asked for all tables at once holds for those that a transaction of before announces. To a later one keys may have
    /// changed meanwhile.
    private mutating func keys(
        of oid: UInt32, in xid: UInt32?, _ settings: StreamSettings
    ) throws(SessionFailure) -> TableKeys {
        if let xid, let published, published.covers(transaction: xid), let keys = published[oid] { return keys }
        let began = clock.monotonic()
        if began &- askedAt < .seconds(1), began >= askAllFrom {
            let all = try ask(settings) { (open) throws(PostgresError) in
                try open.publishedKeys(of: settings.publication)
            }
            askAllFrom = began &+ (clock.monotonic() &- began) &* Self.allShare
            published = all
            if let keys = all[oid] { return keys }
        }
        return try ask(settings) { (open) throws(PostgresError) in try open.keys(of: oid) }
    }

    static func description(
        primaryKey: [String], identityIndex: [String], types: [TypeFacts]
    ) -> TableDescription {
        TableDescription(
            primaryKey: primaryKey, identityIndex: identityIndex,
            types: Dictionary(types.map { ($0.oid, type($0)) }, uniquingKeysWith: { first, _ in first }))
    }

    /// The stream has nothing for us at the moment: lets a connection go that was not used for a while.
    mutating func rest(now: Int64) {
        guard now &- askedAt >= Self.keptFor else { return }
        connection = nil
        published = nil
    }

    /// Asks on the connection that was kept, if there is one. It may have been ended meanwhile: then on another.
    private mutating func ask<Answer>(
        _ settings: StreamSettings,
        _ question: (inout PostgresConnection) throws(PostgresError) -> Answer
    ) throws(SessionFailure) -> Answer {
        askedAt = clock.monotonic()
        do throws(PostgresError) {
            if var kept = connection.take() {
                kept.limit(to: left)
                do throws(PostgresError) {
                    let answer = try question(&kept)
                    connection = consume kept
                    return answer
                } catch  where error.kind == .transient || error.kind == .shuttingDown {
                    // Below.
                }
            }
            var fresh = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10), limit: left)
            let answer = try question(&fresh)
            connection = consume fresh
            return answer
        } catch { throw StreamFailures.session(error, settings) }
    }

    private var left: Duration { .nanoseconds(max(0, until &- clock.monotonic())) }

    private static func type(_ facts: TypeFacts) -> PostgresType {
        let kind: PostgresType.Kind =
            if let element = facts.elementType {
                .array(element: element, delimiter: facts.elementDelimiter.utf8.first ?? UInt8(ascii: ","))
            } else {
                switch facts.kind {
                case .base, .pseudo: .base
                case .composite: .composite
                case .domain: .domain(base: facts.baseType ?? 0, modifier: facts.baseModifier)
                case .enumeration: .enum
                case .multirange: .multirange
                case .range: .range
                }
            }
        return PostgresType(schema: facts.schema, name: facts.name, kind: kind)
    }
}
