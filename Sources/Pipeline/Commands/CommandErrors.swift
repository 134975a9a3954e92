import Kafka
import Postgres

/// The exit of a command that a server does not let go on.
enum CommandErrors {
    static func exit(_ error: PostgresError) -> AgentExit {
        AgentExit(
            error.kind == .tooOld ? .configuration : .unavailable, "postgres: \(error.message)",
            details: details(error),
            hints: error.hint.map { [$0] } ?? [])
    }

    static func exit(_ error: KafkaError) -> AgentExit {
        guard error.reason != .configuration, error.reason != .properties else { return refused(error) }
        let hint =
            switch error.reason {
            case .authorization: "give this user its rights: ops/reference/topics.md, Rights"
            case .authentication: "look at kafka.client: user, password, mechanism, certificates"
            default: "see that kafka.brokers can be reached: sluice check"
            }
        return AgentExit(.unavailable, error.description, hints: [hint])
    }

    /// What brokers, or the client's own library, refuse for its settings they refuse each time.
    static func refused(_ error: KafkaError) -> AgentExit {
        let hint =
            error.name == "INVALID_TRANSACTION_TIMEOUT"
            ? "set kafka.transaction.timeout to at most the brokers' transaction.max.timeout.ms: sluice check says it"
            : "sluice check"
        return AgentExit(.configuration, error.description, hints: [hint])
    }

    private static func details(_ error: PostgresError) -> [String] {
        [error.sqlState.map { "SQLSTATE \($0)" }, error.detail].compactMap { $0 }
    }
}
