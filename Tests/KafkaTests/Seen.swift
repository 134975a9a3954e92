import Synchronization

@testable import Kafka

/// What a client has told its closures.
final class Seen: Sendable {
    private let state = Mutex((lines: 0, errors: [KafkaError]()))

    func log() { state.withLock { $0.lines += 1 } }
    func error(_ error: KafkaError) { state.withLock { $0.errors.append(error) } }

    var lines: Int { state.withLock { $0.lines } }
    var errors: [KafkaError] { state.withLock { $0.errors } }
}
