/// A table as a user names it, with `*` (any characters) and `?` (one) in schema or name. Names are taken as they are in the catalog:
/// no folding to lower case, no quotes, and dots are characters like others.
public struct TablePattern: Sendable, Hashable, CustomStringConvertible {
    /// The pattern of the schema.
    public let schema: String
    /// The pattern of the table.
    public let table: String

    /// A pattern from its parts.
    public init(schema: String, table: String) {
        self.schema = schema
        self.table = table
    }

    /// `schema.table`, for people: it cannot be read back where a part holds a dot.
    public var description: String { "\(schema).\(table)" }

    /// Whether it can match more than one table.
    public var isGlob: Bool { (schema + table).contains { $0 == "*" || $0 == "?" } }

    /// Whether it matches a table.
    public func matches(schema: String, table: String) -> Bool {
        Self.matches(Array(self.schema.unicodeScalars), Array(schema.unicodeScalars))
            && Self.matches(Array(self.table.unicodeScalars), Array(table.unicodeScalars))
    }

    /// For LIKE, with its default escape: of a part of a pattern, what matches at least all that the part does. What is not ASCII stands for
    /// anything: the server may be unable to hold it, or count its characters in another way.
    package static func like(_ part: String) -> String {
        var text = ""
        for scalar in part.unicodeScalars {
            switch scalar {
            case "%", "_", "\\": text += "\\\(scalar)"
            case " "..."~" where scalar != "*" && scalar != "?": text.unicodeScalars.append(scalar)
            default: if text.last != "%" || text.hasSuffix("\\%") { text += "%" }
            }
        }
        return text
    }

    /// A name against a pattern with `*` and `?`. Greedy with one point of return: linear in practice, never exponential.
    package static func matches(_ pattern: [UnicodeScalar], _ name: [UnicodeScalar]) -> Bool {
        var (p, n) = (0, 0)
        var retry: (p: Int, n: Int)?
        while n < name.count {
            if p < pattern.count, pattern[p] == "*" {
                retry = (p + 1, n)
                p += 1
            } else if p < pattern.count, pattern[p] == "?" || pattern[p] == name[n] {
                p += 1
                n += 1
            } else if let last = retry {
                retry = (last.p, last.n + 1)
                (p, n) = (last.p, last.n + 1)
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == "*" }
    }
}

extension Collection<TablePattern> {
    /// Whether one of them matches a table.
    public func match(schema: String, table: String) -> Bool {
        contains { $0.matches(schema: schema, table: table) }
    }

    /// Those that match none of the tables.
    public func absent(from tables: [TableFacts]) -> [TablePattern] {
        filter { pattern in !tables.contains { pattern.matches(schema: $0.schema, table: $0.name) } }
    }
}
