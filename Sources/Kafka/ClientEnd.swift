internal import CKafka
internal import Threads

/// Frees a client on a thread of its own, and waits for that, but not for ever.
///
/// librdkafka joins its own threads, and not each of them ends: with 2.0 a broker's may stay where a topic that was read was deleted and
/// made again. Whoever gives a client up because of what has happened is to say so all the same.
final class ClientEnd: Sendable {
    /// Well over the second after which each thread looks whether it is to end.
    static let patience = Duration.seconds(4)

    // SAFETY: handed to the one thread that frees it; nobody else has it any more.
    private nonisolated(unsafe) let client: OpaquePointer
    private let context: Unmanaged<ClientContext>

    private init(_ client: OpaquePointer, _ context: Unmanaged<ClientContext>) {
        self.client = client
        self.context = context
    }

    /// Frees a client without leaving its group.
    /// - Parameters:
    ///   - context: what its callbacks know: released when none comes any more.
    ///   - patience: nil: it is waited for, however long that takes.
    /// - Returns: false where that takes longer; it goes on, for ever perhaps.
    static func free(
        _ client: OpaquePointer, _ context: Unmanaged<ClientContext>, within patience: Duration?
    ) -> Bool {
        let end = ClientEnd(client, context)
        guard let patience, let thread = WorkerThread.ifPossible(name: "kafka-end", { end.run() }) else {
            end.run()
            return true
        }
        return thread.join(milliseconds: Int(patience.milliseconds))
    }

    private func run() {
        rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
        context.release()
    }
}
