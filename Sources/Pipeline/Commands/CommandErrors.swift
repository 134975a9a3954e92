import Kafka
import Postgres

/// The exit of a command that a server does not let go on.
enum CommandErrors {
    static func exit(_ error: PostgresError) -> AgentExit {
        AgentExit(
            .unavailable, "postgres: \(error.message)", details: details(error), hints: error.hint.map { [$0] } ?? [])
    }

    static func exit(_ error: KafkaError) -> AgentExit {
        AgentExit(.unavailable, error.description, hints: ["see that kafka.brokers can be reached: sluice check"])
    }

    private static func details(_ error: PostgresError) -> [String] {
        [error.sqlState.map { "SQLSTATE \($0)" }, error.detail].compactMap { $0 }
    }
}
