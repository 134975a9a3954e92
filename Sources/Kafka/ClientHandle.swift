internal import CKafka

/// An `rd_kafka_t` and the context of its callbacks, both freed once.
///
/// Freeing joins librdkafka's threads: after it no memory of ours is referred to and no callback comes. It does not wait for
/// brokers: nothing is flushed, no group is left (`NO_CONSUMER_CLOSE`), queued records are dropped. A broker's thread looks at
/// the request to end at least once a second, also while it connects; only a name resolution that hangs holds it up, for as
/// long as the resolver's own time-out. (`RD_KAFKA_DESTROY_F_IMMEDIATE` would not wait, but leaves threads running that still
/// read our memory.) A reader whose threads do not end in time is left behind with its context (`ClientEnd`); a producer, which may
/// still point into what it was given, is waited for.
struct ClientHandle: ~Copyable {
    let pointer: OpaquePointer
    let context: ClientContext
    private let retained: Unmanaged<ClientContext>

    init(
        _ type: rd_kafka_type_t, _ configuration: consuming ClientConfiguration, events: KafkaEvents,
        rebalance: Bool = false, flight: FlightLedger? = nil, operation: String
    ) throws(KafkaError) {
        let context = ClientContext(events, flight: flight)
        let retained = Unmanaged.passRetained(context)
        configuration.attach(retained, rebalance: rebalance, deliveryReports: flight != nil)
        do throws(KafkaError) {
            pointer = try configuration.makeClient(type, operation: operation)
        } catch {
            retained.release()
            throw error
        }
        self.context = context
        self.retained = retained
    }

    deinit {
        guard !context.awaitsAssignment else {
            // Left behind rather than freed, with its threads and its context, and out of its group: seldom, and small.
            rd_kafka_unsubscribe(pointer)
            return
        }
        let patience = rd_kafka_type(pointer) == RD_KAFKA_PRODUCER ? nil : ClientEnd.patience
        guard !ClientEnd.free(pointer, retained, within: patience) else { return }
        context.log(level: 4, facility: "DESTROY", text: "a client's threads do not end: it is left behind")
    }
}

extension Duration {
    /// Whole milliseconds, rounded up so that a short wait is not a spin, within what librdkafka takes.
    var milliseconds: Int32 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        guard seconds < 2_000_000 else { return 2_000_000_000 }
        return Int32(seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}

/// A point in time past which a call does not wait.
struct Deadline {
    private let end: ContinuousClock.Instant

    init(after timeout: Duration) { end = ContinuousClock.now + timeout }

    var remaining: Duration { max(.zero, end - ContinuousClock.now) }
    var milliseconds: Int32 { remaining.milliseconds }
    var hasPassed: Bool { ContinuousClock.now >= end }
}
