import ChangeData
import Postgres

/// The topics that a replay writes to must be none that the live stream writes, or that the sink takes for live ones.
struct ReplayTopics {
    let settings: StreamSettings

    /// The replay's topic of each table, by `schema.table`.
    /// - Throws: exit 64 where the prefix cannot be used, 69 where the tables cannot be looked up.
    func check(_ prefix: String) throws(AgentExit) -> [String: String] {
        let tables: [TableFacts]
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            tables = try connection.tables(matching: settings.tables)
        } catch { throw CommandErrors.exit(error) }
        var topics: [String: String] = [:]
        let selection: TopicSelection
        do throws(TopicError) {
            for table in tables {
                topics["\(table.schema).\(table.name)"] = try topicName(
                    template: settings.format.topicTemplate, name: settings.name, schema: table.schema,
                    table: table.name)
            }
            selection = try TopicSelection(
                name: settings.name, template: settings.format.topicTemplate, tables: settings.tables,
                deadLetters: settings.format.deadLetterTopic)
        } catch { throw AgentExit(.configuration, error.description) }
        try Self.check(
            prefix, live: Array(topics.values) + settings.format.otherTopics + [settings.progressTopic],
            sinks: selection.accepts)
        return topics.mapValues { prefix + $0 }
    }

    /// - Parameter sinks: whether the sink takes a topic for one of its own.
    static func check(_ prefix: String, live: [String], sinks: (String) -> Bool) throws(AgentExit) {
        let taken = Set(live.map(collisionKey))
        for topic in live.map({ prefix + $0 }) {
            let why: String
            if topic.utf8.count > 249 {
                why = "is longer than the 249 characters that Kafka allows"
            } else if taken.contains(collisionKey(topic)) {
                why = "is a topic of the live stream, or differs from one only in . and _"
            } else if sinks(topic) {
                why = "is matched by postgres.tables: the sink would take it for a live one"
            } else {
                continue
            }
            throw AgentExit(.usage, "topic \(topic) of the replay \(why)", hints: ["choose another --topic-prefix"])
        }
    }
}
