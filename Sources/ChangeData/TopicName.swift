/// Why topics cannot be named.
public enum TopicError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The template has a `{...}` that is none of name, schema and table.
    case unknownPlaceholder(String)
    /// A name that Kafka does not allow: empty, `.`, `..`, or over 249 characters.
    case invalid(topic: String, table: TableName)
    /// Two tables would share a topic, or have topics that differ only in `.` and `_`.
    case collision(topic: String, table: TableName, other: TableName)

    /// What is wrong with which table's topic, and what to do.
    public var description: String {
        switch self {
        case .unknownPlaceholder(let name):
            "kafka.topic has an unknown placeholder {\(name)}: use {name}, {schema} and {table}"
        case .invalid(let topic, let table):
            "the topic \"\(topic)\" of \(table) is not a name that Kafka allows (1 to 249 characters, not . or ..): "
                + "change kafka.topic"
        case .collision(let topic, let table, let other):
            "\(table) and \(other) would share the topic \"\(topic)\", or differ only in . and _: change kafka.topic"
        }
    }
}

/// The topic of a table by a template such as `{name}.{schema}.{table}`. Characters outside `[A-Za-z0-9._-]` become `_`.
public func topicName(template: String, name: String, schema: String, table: String) throws(TopicError) -> String {
    var topic = ""
    var rest = template[...]
    while let open = rest.firstIndex(of: "{") {
        topic += rest[..<open]
        rest = rest[rest.index(after: open)...]
        guard let close = rest.firstIndex(of: "}") else { throw .unknownPlaceholder(String(rest)) }
        switch rest[..<close] {
        case "name": topic += name
        case "schema": topic += schema
        case "table": topic += table
        default: throw .unknownPlaceholder(String(rest[..<close]))
        }
        rest = rest[rest.index(after: close)...]
    }
    topic += rest
    // By Unicode scalar, as Debezium's one '_' for each UTF-16 unit of what Java's regular expression does not allow.
    topic = String(String.UnicodeScalarView(topic.unicodeScalars.flatMap(allowed)))
    guard (1...249).contains(topic.utf8.count), topic != ".", topic != ".." else {
        throw .invalid(topic: topic, table: TableName(schema: schema, name: table))
    }
    return topic
}

private func allowed(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", ".", "_", "-": [scalar]
    default: Array(repeating: "_", count: UTF16.width(scalar))
    }
}

/// The topic of logical messages (`pg_logical_emit_message`), as Debezium names it.
public func messageTopicName(name: String) -> String {
    String(String.UnicodeScalarView("\(name).message".unicodeScalars.flatMap(allowed)))
}

extension EventFormat {
    /// The topics that records go to and that are no table's: those of logical messages and of dead letters.
    public var otherTopics: [String] { [messageTopicName(name: name), deadLetterTopic].compactMap(\.self) }

    /// What is in the way of a table's topic: one of `otherTopics`, or one that Kafka's metrics cannot tell from it.
    func other(collidingWith key: String) -> TableName? {
        if collisionKey(messageTopicName(name: name)) == key {
            return TableName(schema: "", name: "(logical messages)")
        }
        if deadLetterTopic.map(collisionKey) == key { return TableName(schema: "", name: "(dead letters)") }
        if collisionKey("sluice.\(name).progress") == key { return TableName(schema: "", name: "(positions)") }
        return nil
    }
}

/// Checks that no two tables share a topic, nor have topics that Kafka's metrics cannot tell apart.
public func checkTopics(_ format: EventFormat, tables: [TableName]) throws(TopicError) {
    var owners: [String: TableName] = [:]
    for table in tables {
        let topic = try topicName(
            template: format.topicTemplate, name: format.name, schema: table.schema, table: table.name)
        let key = collisionKey(topic)
        if let other = format.other(collidingWith: key) ?? owners[key], other != table {
            throw .collision(topic: topic, table: table, other: other)
        }
        owners[key] = table
    }
}

/// Topics with equal keys may not stand side by side: Kafka's metrics write `_` for `.`.
public func collisionKey(_ topic: String) -> String {
    String(topic.map { $0 == "." ? "_" : $0 })
}
