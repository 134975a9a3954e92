import Synchronization
import Telemetry

/// Which of the Kafka clients' own lines are held back: while a broker is away each client says so of each of its connections,
/// several times a second. One line of a kind a minute is written, with the number of those before it; all clients share that.
final class KafkaLineThrottle: Sendable {
    /// Kinds that are remembered at most: what they are made of may be new each time.
    private static let kinds = 256
    private let throttles = Mutex<[String: LogThrottle]>([:])

    /// The throttle of a line; nil for one that is always written.
    /// - Parameter facility: librdkafka's code of the place.
    func throttle(of facility: String, _ text: String) -> LogThrottle? {
        guard let kind = Self.kind(of: facility, text) else { return nil }
        return throttles.withLock { throttles in
            if let known = throttles[kind] { return known }
            if throttles.count >= Self.kinds { throttles = [:] }
            let new = LogThrottle(every: .seconds(60))
            throttles[kind] = new
            return new
        }
    }

    /// What failed and how, without the thread before it (`[thrd:...]: `) and how long it took behind it (` (after 3ms in state CONNECT)`).
    private static func kind(of facility: String, _ text: String) -> String? {
        guard facility == "FAIL" || facility == "ERROR" else { return nil }
        var text = text[...]
        if text.hasPrefix("[thrd:"), let end = text.firstRange(of: "]: ") { text = text[end.upperBound...] }
        if let took = text.firstRange(of: " (after ") { text = text[..<took.lowerBound] }
        return "\(facility) \(text)"
    }
}
