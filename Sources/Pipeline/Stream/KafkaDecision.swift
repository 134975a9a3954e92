import ChangeData
import Kafka
import Postgres

/// What `StartDecision` cannot judge without asking Kafka.
enum KafkaDecision {
    /// The cluster's identifier; nil where the brokers give none.
    static func cluster(_ maker: TopicMaker) throws(KafkaError) -> String? {
        let id = try maker.admin.describeCluster(timeout: .seconds(10)).id
        return id.isEmpty ? nil : id
    }

    /// Why the stream may not go on; nil if it may.
    /// - Parameter cluster: the cluster's identifier.
    static func refusal(
        _ stored: StoredPosition, _ facts: StartFacts, _ settings: StreamSettings, _ maker: TopicMaker,
        in cluster: String?
    ) throws(KafkaError) -> StartRefusal? {
        // A copy of the topics may lack rows that the copy of the position says are there: they are copied one by one.
        if let known = stored.cluster, let cluster, cluster != known {
            return StartRefusal.otherKafka(cluster, stored, available: facts.slot?.confirmedFlush, now: facts.clock)
        }
        return try returned(stored, facts, settings, maker)
    }

    /// Tables that were taken out of the publication and put back since the stored position.
    ///
    /// A table without a topic is not one of them: it is published for the first time, by a hand that did not wait for `init`, which
    /// makes the topic and notes the entry.
    private static func returned(
        _ stored: StoredPosition, _ facts: StartFacts, _ settings: StreamSettings, _ maker: TopicMaker
    ) throws(KafkaError) -> StartRefusal? {
        guard let publication = facts.published, let mark = stored.mark else { return nil }
        // A loss is on record already, and ends when the publication is whole again.
        if let last = stored.gaps.last, last.to.rawValue == 0 { return nil }
        var returned: [PublishedTable] = []
        for table in mark.returned(in: publication) where table.matches(settings.tables) {
            let topic = try? topicName(
                template: settings.format.topicTemplate, name: settings.name, schema: table.schema, table: table.name)
            if let topic, try maker.partitions(of: topic) != nil { returned.append(table) }
        }
        guard !returned.isEmpty else { return nil }
        return StartRefusal.returned(
            returned, publication.name, stored: stored, available: facts.walEnd, now: facts.clock)
    }
}
