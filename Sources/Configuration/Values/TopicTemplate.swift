/// The name of a table's topic, with the placeholders `{name}`, `{schema}` and `{table}`.
public struct TopicTemplate: Sendable, Equatable, CustomStringConvertible {
    /// A placeholder.
    public enum Placeholder: String, Sendable, CaseIterable { case name, schema, table }

    enum Part: Sendable, Equatable {
        case text(String)
        case placeholder(Placeholder)
    }

    /// The template as written.
    public let description: String
    let parts: [Part]

    /// Why a text is no template; safe to print.
    struct Malformed: Error, Equatable {
        let message: String
    }

    /// Reads a template. Text outside of placeholders must already be valid in a topic's name.
    init(parsing text: String) throws(Malformed) {
        let known = Placeholder.allCases.map { "{\($0.rawValue)}" }.joined(separator: ", ")
        var parts: [Part] = []
        var rest = Substring(text)
        while !rest.isEmpty {
            if rest.first == "{" {
                guard let end = rest.firstIndex(of: "}") else {
                    throw Malformed(message: "a { without its }; placeholders: \(known)")
                }
                let word = String(rest[rest.index(after: rest.startIndex)..<end])
                guard let placeholder = Placeholder(rawValue: word) else {
                    throw Malformed(message: "unknown placeholder {\(word)}; allowed: \(known)")
                }
                parts.append(.placeholder(placeholder))
                rest = rest[rest.index(after: end)...]
            } else {
                let end = rest.firstIndex(of: "{") ?? rest.endIndex
                let literal = String(rest[..<end])
                guard literal == Self.sanitized(literal) else {
                    throw Malformed(
                        message: "a topic's name may hold only A-Z a-z 0-9 . _ - and the placeholders \(known)")
                }
                parts.append(.text(literal))
                rest = rest[end...]
            }
        }
        guard !parts.isEmpty else { throw Malformed(message: "empty; allowed: text and the placeholders \(known)") }
        description = text
        self.parts = parts
    }

    /// Whether the placeholder is used.
    public func contains(_ placeholder: Placeholder) -> Bool {
        parts.contains(.placeholder(placeholder))
    }

    /// The topic of one table. Characters that a topic's name cannot hold become `_`.
    public func topic(name: String, schema: String, table: String) -> String {
        var topic = ""
        for part in parts {
            switch part {
            case .text(let text): topic += text
            case .placeholder(.name): topic += Self.sanitized(name)
            case .placeholder(.schema): topic += Self.sanitized(schema)
            case .placeholder(.table): topic += Self.sanitized(table)
            }
        }
        return topic
    }

    /// `text` with every character outside `[A-Za-z0-9._-]` as `_`; as Debezium has it, one for each of its UTF-16 units.
    ///
    /// This and what follows says ahead how the stream names topics (`topicName` of ChangeData): a test compares the two.
    public static func sanitized(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "A"..."Z", "a"..."z", "0"..."9", ".", "_", "-": result.unicodeScalars.append(scalar)
            default: result += String(repeating: "_", count: UTF16.width(scalar))
            }
        }
        return result
    }

    /// Whether Kafka allows it as the name of a topic, all its characters being allowed.
    static func hasNamesLength(_ topic: String) -> Bool {
        (1...249).contains(topic.utf8.count) && topic != "." && topic != ".."
    }

    /// Whether something tells the topics of these tables from those of others in the cluster: text or the agent's name in all of them, a
    /// schema, or how they begin.
    func tellsApart(_ tables: ConfiguredTable) -> Bool {
        func isWild(_ character: Character) -> Bool { character == "*" || character == "?" }
        let hasMark = parts.contains { part in
            switch part {
            case .text(let text): text.contains { $0.isLetter || $0.isNumber }
            case .placeholder(.name): true
            case .placeholder(.schema): !tables.schema.contains(where: isWild)
            case .placeholder(.table): !tables.table.contains(where: isWild)
            }
        }
        if hasMark { return true }
        guard let first = parts.first else { return false }
        let begin = first == .placeholder(.schema) ? tables.schema : first == .placeholder(.table) ? tables.table : ""
        return begin.first.map { !isWild($0) } ?? false
    }

    /// What two topics must not share: Kafka's own metrics cannot tell `.` from `_`.
    public static func collisionKey(_ topic: String) -> String {
        String(topic.map { $0 == "." ? "_" : $0 })
    }
}
