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
}
