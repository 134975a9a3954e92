import ChangeData
import Postgres

/// Asks the catalog what the replication stream does not say of a table: the order of its key, and what its types are made
/// of. The connection is opened when it is needed and closed when the stream is idle again.
struct RelationDescriber: ~Copyable {
    private let patterns: [TablePattern]
    private var connection: PostgresConnection?

    init(patterns: [TablePattern]) { self.patterns = patterns }

    /// Whether transactions may come from another server. Protocol 2 tells it of those alone whose very first change says so,
    /// and never where they were committed there.
    mutating func hasOrigins(settings: StreamSettings) throws(SessionFailure) -> Bool {
        do throws(PostgresError) {
            if connection == nil {
                connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            }
            guard var open = connection.take() else { return true }
            let found = try open.query("SELECT FROM pg_catalog.pg_replication_origin LIMIT 1", []).count > 0
            connection = consume open
            return found
        } catch { throw StreamFailures.session(error, settings) }
    }

    mutating func describe(
        _ relation: Relation, settings: StreamSettings
    ) throws(SessionFailure) -> TableDescription {
        let isWanted = patterns.contains(where: {
            $0.matches(schema: relation.table.schema, table: relation.table.name)
        })
        do throws(PostgresError) {
            if connection == nil {
                connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            }
            guard var open = connection.take() else { return TableDescription(primaryKey: []) }
            let table = try open.tables(oids: [relation.oid]).first
            // Below 16384 are the built-in types, which the encoder knows.
            let unknown = Set(relation.columns.map(\.typeOID).filter { $0 >= 16_384 })
            let types = unknown.isEmpty ? [] : try open.types(oids: unknown)
            connection = consume open
            return Self.description(table: table, types: types, isIgnored: !isWanted)
        } catch {
            throw StreamFailures.session(error, settings)
        }
    }

    static func description(table: TableFacts?, types: [TypeFacts], isIgnored: Bool) -> TableDescription {
        TableDescription(
            primaryKey: table?.primaryKey?.columns ?? [], identityIndex: table?.identityIndex?.columns ?? [],
            types: Dictionary(types.map { ($0.oid, type($0)) }, uniquingKeysWith: { first, _ in first }),
            isIgnored: isIgnored)
    }

    /// The stream is idle: lets the connection go.
    mutating func rest() { connection = nil }

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
