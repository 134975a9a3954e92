import Kafka
import Postgres
import Testing

@testable import Pipeline

/// What a session does about the errors of its parts.
@Suite struct StreamFailureTests {
    private func settings() throws -> StreamSettings {
        try PipelineTests.settings(try KafkaSettings(brokers: "localhost:1", clientID: "c"), name: "n")
    }

    @Test func aServerThatIsTooOldEndsTheAgentAtOnce() throws {
        let error = PostgresError(.tooOld, "PostgreSQL 13 is too old: 14 is the oldest")
        guard case .exit(let exit) = StreamFailures.session(error, try settings()) else {
            Issue.record("it is tried again")
            return
        }
        #expect(exit.code == .configuration && exit.message.contains("too old") && exit == CommandErrors.exit(error))
    }

    /// Each property alone is one that librdkafka takes: it refuses them when a client is made.
    @Test(arguments: [
        (["reconnect.backoff.ms": "5000", "reconnect.backoff.max.ms": "100"], "reconnect.backoff"),
        (["security.protocol": "ssl", "ssl.ca.location": "/nonexistent/ca.pem"], "ssl.ca.location"),
    ])
    func propertiesThatNoClientCanBeMadeOfAreRefused(properties: [String: String], named: String) throws {
        let kafka = try KafkaSettings(brokers: "localhost:1", clientID: "c", properties: properties)
        let refused = [
            refusal { () throws(KafkaError) in _ = try CommittedReader(kafka) },
            refusal { () throws(KafkaError) in _ = try KafkaAdmin(kafka) },
            refusal { () throws(KafkaError) in
                _ = try TransactionalProducer(kafka, ProducerOptions(transactionalID: "t"))
            },
        ]
        for exit in refused {
            #expect(
                exit?.code == .configuration && exit?.message.contains(named) == true, "\(String(describing: exit))")
        }
    }

    /// Nil where it succeeds, or is tried again.
    private func refusal(_ make: () throws(KafkaError) -> Void) -> AgentExit? {
        do throws(SessionFailure) {
            try StreamFailures.kafka(make)
            return nil
        } catch {
            guard case .refused(let exit) = error else { return nil }
            return exit
        }
    }
}
