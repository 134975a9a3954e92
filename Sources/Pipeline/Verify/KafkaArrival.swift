import ChangeData
import Kafka
import Postgres
import Threads

/// Waits for what PostgreSQL has committed to arrive in Kafka.
struct KafkaArrival {
    let settings: StreamSettings
    let services: StreamServices

    /// Sees that there is a position: before the first `init` there is nothing to compare with.
    func requirePosition() throws(AgentExit) {
        // The slot before the position: an `init` that runs makes it after it.
        let facts: StartFacts
        do throws(PostgresError) { facts = try StartFacts.gather(settings).facts } catch {
            throw CommandErrors.exit(error)
        }
        let found: ProgressStore.Found
        do throws(KafkaError) {
            found = try ProgressStore(settings, events: services.kafkaEvents).readIfThere(timeout: .seconds(15)).found
        } catch { throw CommandErrors.exit(error) }
        switch found {
        case .position(let position) where position.state == .streaming: return
        case .position(let position): throw StartRefusal.withoutPosition(position, facts).exit
        case .nothing: throw StartRefusal.withoutPosition(nil, facts).exit
        case .unreadable(let why): throw StartRefusal.unreadable(settings.progressTopic, why).exit
        }
    }

    /// Waits until Kafka holds everything up to an LSN, as long as an agent streams; answers how far it is.
    func wait(for lsn: LSN) throws(AgentExit) -> StoredPosition {
        let started = services.clock.monotonic()
        let wakeup = Wakeup()
        do throws(KafkaError) {
            let store = try ProgressStore(settings, events: services.kafkaEvents)
            while true {
                if case .position(let position) = try store.read(timeout: .seconds(15)).found,
                    position.lsn >= lsn || !isStreaming()
                {
                    return position
                }
                // An idle position is committed every ten seconds; a busy one far more often.
                guard services.clock.monotonic() &- started < .seconds(60) else { break }
                wakeup.wait(milliseconds: 250)
            }
        } catch { throw CommandErrors.exit(error) }
        throw AgentExit(
            .unavailable, "Kafka does not hold \(lsn) yet, after 60 s",
            hints: ["see that the agent runs: sluice status"])
    }

    /// Whether an agent has the slot.
    private func isStreaming() -> Bool {
        switch services.slotHolder(settings, ours: []) {
        case .us, .perhapsUs, .other, .unknown: true
        case .nobody: false
        }
    }
}
