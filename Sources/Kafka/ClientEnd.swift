internal import CKafka
internal import CLinux
internal import Glibc
internal import Synchronization

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
    private let isDone = Atomic<Bool>(false)
    /// Readable when it is done.
    private let done: Int32

    private init(_ client: OpaquePointer, _ context: Unmanaged<ClientContext>) {
        self.client = client
        self.context = context
        done = eventfd(0, Int32(EFD_CLOEXEC))
    }

    deinit { if done >= 0 { close(done) } }

    /// Frees a client without leaving its group.
    /// - Parameter context: what its callbacks know: released when none comes any more.
    /// - Returns: false where that takes longer; it goes on, for ever perhaps.
    static func free(_ client: OpaquePointer, _ context: Unmanaged<ClientContext>) -> Bool {
        let end = ClientEnd(client, context)
        guard end.done >= 0, end.begin() else {
            end.run()
            return true
        }
        let deadline = Deadline(after: patience)
        var watched = pollfd(fd: end.done, events: Int16(POLLIN), revents: 0)
        while !end.isDone.load(ordering: .acquiring), !deadline.hasPassed { poll(&watched, 1, deadline.milliseconds) }
        return end.isDone.load(ordering: .acquiring)
    }

    /// Starts the thread; false where there can be none.
    private func begin() -> Bool {
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 1 << 20)
        let retained = Unmanaged.passRetained(self)
        let failed = pthread_create(
            &thread, &attributes,
            { argument in
                // Retained for this thread.
                if let argument { Unmanaged<ClientEnd>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, retained.toOpaque())
        if failed != 0 { retained.release() }
        return failed == 0
    }

    private func run() {
        rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
        context.release()
        isDone.store(true, ordering: .releasing)
        eventfd_write(done, 1)
    }
}
