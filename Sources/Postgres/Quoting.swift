/// Writes names and values into SQL and replication commands, which take no parameters.
package enum Quoting {
    /// `"a""b"`.
    package static func identifier(_ name: some StringProtocol) -> String { quoted(name, "\"") }

    /// `"schema"."table"`.
    package static func qualified(_ schema: String, _ name: String) -> String {
        identifier(schema) + "." + identifier(name)
    }

    /// `'it''s'`: a literal of the replication grammar, and of SQL with `standard_conforming_strings` on.
    package static func literal(_ value: some StringProtocol) -> String { quoted(value, "'") }

    /// The value of `publication_names`: a list of quoted identifiers in one string.
    package static func publicationNames(_ names: [String]) -> String {
        names.map { identifier($0) }.joined(separator: ",")
    }

    private static func quoted(_ text: some StringProtocol, _ quote: Character) -> String {
        var result = String(quote)
        for scalar in text.unicodeScalars {
            if Character(scalar) == quote { result.append(quote) }
            result.unicodeScalars.append(scalar)
        }
        result.append(quote)
        return result
    }
}
