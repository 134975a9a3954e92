import Synchronization

@testable import Kafka

/// What a client has told its closures.
final class Seen: Sendable {
    private let state = Mutex((lines: [KafkaLogLine](), errors: [KafkaError]()))

    func log(_ line: KafkaLogLine) { state.withLock { $0.lines.append(line) } }
    func error(_ error: KafkaError) { state.withLock { $0.errors.append(error) } }

    var lines: [KafkaLogLine] { state.withLock { $0.lines } }
    var errors: [KafkaError] { state.withLock { $0.errors } }
}
