/// `schema.table`, either of which may hold the wildcards `*` (any run of characters) and `?` (one).
///
/// A part that holds a dot, a blank or a capital letter may be written in double quotes, as in SQL; case always counts.
public struct ConfiguredTable: Sendable, Equatable, Hashable, CustomStringConvertible {
    /// The schema's name or pattern.
    public let schema: String
    /// The table's name or pattern.
    public let table: String

    /// Reads `schema.table`; nil unless it is two non-empty parts.
    public init?(_ text: String) {
        var parts: [String] = []
        var part = ""
        var quoted = false
        var wasQuoted = false
        for character in text {
            if character == "\"" {
                guard quoted || part.isEmpty else { return nil }
                quoted.toggle()
                wasQuoted = true
            } else if character == "." && !quoted {
                parts.append(part)
                part = ""
                wasQuoted = false
            } else {
                // Nothing may follow a closing quote but the dot.
                guard quoted || !wasQuoted, quoted || !character.isWhitespace else { return nil }
                part.append(character)
            }
        }
        parts.append(part)
        guard !quoted, parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
        schema = parts[0]
        table = parts[1]
    }

    /// Whether it names one table rather than a set.
    public var isLiteral: Bool { !(schema + table).contains { $0 == "*" || $0 == "?" } }

    /// `schema.table`, quoted where it must be.
    public var description: String {
        func quote(_ part: String) -> String {
            part.contains { $0 == "." || $0.isWhitespace } ? "\"\(part)\"" : part
        }
        return "\(quote(schema)).\(quote(table))"
    }
}
