import ChangeData
import Kafka
import Postgres

/// Turns the errors of the parts into what the session does about them: the one place where that is decided.
enum StreamFailures {
    static func session(_ error: KafkaError) -> SessionFailure {
        guard error.reason != .properties else { return .refused(CommandErrors.refused(error)) }
        return .retry(component: .kafka, reason: error.description)
    }

    /// Runs calls to Kafka whose failure ends the session.
    static func kafka<T: ~Copyable>(_ body: () throws(KafkaError) -> T) throws(SessionFailure) -> T {
        do throws(KafkaError) { return try body() } catch { throw session(error) }
    }

    /// Runs calls to PostgreSQL whose failure ends the session.
    static func postgres<T: ~Copyable>(
        _ settings: StreamSettings, _ body: () throws(PostgresError) -> T
    ) throws(SessionFailure) -> T {
        do throws(PostgresError) { return try body() } catch { throw session(error, settings) }
    }

    static func session(_ error: PostgresError, _ settings: StreamSettings) -> SessionFailure {
        switch error.kind {
        case .transient, .shuttingDown, .timedOut, .cancelled: .retry(component: .postgres, reason: error.description)
        case .slotInUse: .slotInUse(holder: nil)
        case .slotMissing, .slotInvalidated:
            // The next session compares the slot with the stored position, and says all that can be said.
            .retry(component: .postgres, reason: error.description)
        case .undefined:
            .exit(StartRefusal.undecodable(settings, error, stored: nil, available: nil, now: 0).exit)
        case .untranslatable:
            // It cannot at the next attempt either.
            .exit(
                AgentExit(
                    .unrepresentable, "the server cannot send a row in UTF-8: \(error)",
                    hints: ["correct the row's text for later changes; for this one see ops/runbooks/exit-5.md"]))
        case .rowTooLarge:
            .exit(
                AgentExit(
                    .unrepresentable,
                    "the server cannot send a row, old and new image together: more than 1 GB (\(error))",
                    hints: ["make the row smaller for later changes; for this one see ops/runbooks/exit-5.md"]))
        case .tooOld: .exit(CommandErrors.exit(error))
        case .permission, .configuration, .duplicate, .fatal:
            .retry(component: .postgres, reason: error.description)
        }
    }

    static func exit(_ error: ChangeDataError) -> AgentExit {
        switch error {
        // A logical message is no row.
        case .unrepresentable(let table, _, _, _) where table.schema.isEmpty:
            AgentExit(.unrepresentable, error.description)
        case .unrepresentable, .noKey:
            AgentExit(
                .unrepresentable, error.description,
                hints: ["set kafka.dead_letter_topic and start again: the row goes there, and the stream goes on"])
        case .tooLarge, .reservedColumn: AgentExit(.unrepresentable, error.description)
        case .topic: AgentExit(.configuration, error.description)
        case .malformed, .unsupported, .unexpected, .undefined: AgentExit(.software, error.description)
        }
    }
}
