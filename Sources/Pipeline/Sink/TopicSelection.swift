package import ChangeData
package import Postgres

/// Which topics the sink reads: those of the configured tables, by the topic template alone. No database is asked, so a
/// sink runs where only Kafka can be reached, and a new table of a pattern is picked up when its topic appears.
package struct TopicSelection: Sendable, Equatable {
    /// What the consumer subscribes to: names, and for patterns expressions that begin with `^`.
    package let subscriptions: [String]
    private let patterns: [[UnicodeScalar]]
    private let refused: Set<String>

    /// - Throws: a template or a name that gives no topic.
    package init(
        name: String, template: String, tables: [TablePattern], deadLetters: String? = nil
    ) throws(TopicError) {
        var subscriptions: [String] = []
        var patterns: [[UnicodeScalar]] = []
        for table in tables {
            let pattern = try Self.pattern(template: template, name: name, schema: table.schema, table: table.table)
            patterns.append(pattern)
            let isGlob = pattern.contains { $0 == "*" || $0 == "?" }
            let subscription = isGlob ? Self.expression(pattern) : Self.text(pattern)
            if !subscriptions.contains(subscription) { subscriptions.append(subscription) }
        }
        self.subscriptions = subscriptions
        self.patterns = patterns
        // A template such as "{table}" makes a pattern that matches these too.
        refused = Set(["sluice.\(name).progress", messageTopicName(name: name), deadLetters].compactMap(\.self))
    }

    /// The topics of tables that are named, and not only matched.
    package var named: [String] { subscriptions.filter { !$0.hasPrefix("^") } }

    /// Whether a topic that the group gives us is one of ours. An expression may match more: Kafka's own topics, the agent's.
    package func accepts(_ topic: String) -> Bool {
        guard !topic.hasPrefix("__"), !refused.contains(topic) else { return false }
        let topic = Array(topic.unicodeScalars)
        return patterns.contains { TablePattern.matches($0, topic) }
    }

    /// The topic of a pattern's literal pieces, with the wildcards between them.
    private static func pattern(
        template: String, name: String, schema: String, table: String
    ) throws(TopicError) -> [UnicodeScalar] {
        // Wildcards are no characters of a topic's name, so they stand in for themselves as words that are.
        let (star, mark) = ("-sluice-any-", "-sluice-one-")
        func marked(_ text: String) -> String {
            var result = ""
            for scalar in text.unicodeScalars {
                switch scalar {
                case "*": result += star
                case "?": result += mark
                default: result.unicodeScalars.append(scalar)
                }
            }
            return result
        }
        let topic = try topicName(template: template, name: name, schema: marked(schema), table: marked(table))
        var result: [UnicodeScalar] = []
        var rest = topic[...]
        while let first = rest.unicodeScalars.first {
            if rest.hasPrefix(star) {
                result.append("*")
                rest = rest.dropFirst(star.count)
            } else if rest.hasPrefix(mark) {
                result.append("?")
                rest = rest.dropFirst(mark.count)
            } else {
                result.append(first)
                rest = rest.dropFirst()
            }
        }
        return result
    }

    private static func text(_ scalars: [UnicodeScalar]) -> String {
        String(String.UnicodeScalarView(scalars))
    }

    /// A POSIX extended expression for librdkafka, which takes a subscription that begins with `^` as one.
    private static func expression(_ pattern: [UnicodeScalar]) -> String {
        var result = "^"
        for scalar in pattern {
            switch scalar {
            case "*": result += "[A-Za-z0-9._-]*"
            case "?": result += "[A-Za-z0-9._-]"
            case ".": result += "\\."
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "$"
    }
}
