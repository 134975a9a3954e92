import ChangeData
import Kafka
import Postgres

/// Tables that were taken out of the publication and put back since the stored position.
enum ReturnedTables {
    /// Why the stream may not go on; nil if it may.
    ///
    /// A table that nothing was ever written of is not one of them: it is published for the first time, by a hand that did not
    /// wait for `init`.
    static func refusal(
        _ stored: StoredPosition, _ facts: StartFacts, _ settings: StreamSettings, _ maker: TopicMaker
    ) throws(KafkaError) -> StartRefusal? {
        guard let publication = facts.published, let mark = stored.mark else { return nil }
        // A loss is on record already, and ends when the publication is whole again.
        if let last = stored.gaps.last, last.to.rawValue == 0 { return nil }
        var returned: [PublishedTable] = []
        for table in mark.returned(in: publication) where table.matches(settings.tables) {
            let topic = try? topicName(
                template: settings.format.topicTemplate, name: settings.name, schema: table.schema, table: table.name)
            guard let topic, let count = try maker.partitions(of: topic) else { continue }
            if try !maker.isEmpty(topic, partitions: count) { returned.append(table) }
        }
        guard !returned.isEmpty else { return nil }
        return StartDecision.returned(
            returned, publication.name, stored: stored, available: facts.walEnd, now: facts.clock)
    }
}
