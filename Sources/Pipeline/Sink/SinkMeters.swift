import Telemetry

extension AgentMeters {
    /// Shows what the sink does.
    package func bindSink(_ state: AgentState, clock: Clock) {
        registry.counter("sluice_sink_dropped_total", "Records that were in an object already, and were dropped.") {
            Double(state.snapshot.sink.dropped)
        }
        registry.counter("sluice_sink_followed_total", "Objects that another worker had written first.") {
            Double(state.snapshot.sink.followed)
        }
        registry.counter(
            "sluice_retries_total", "Calls that failed and were made again.", ["component": "s3", "class": "transient"]
        ) { Double(state.snapshot.sink.retries) }
        registry.gauge("sluice_spool_bytes", "Bytes of the sink on local disk.") {
            Double(state.snapshot.sink.spoolBytes)
        }
        registry.gauge("sluice_sink_buffered_bytes", "Bytes of the sink in memory.") {
            Double(state.snapshot.sink.memoryBytes)
        }
        registry.gauge("sluice_sink_paused", "1 while the sink reads nothing, since memory or disk are full.") {
            state.snapshot.sink.isPaused ? 1 : 0
        }
        registry.counter("sluice_sink_spool_failures_total", "Times that the local disk could not be written.") {
            Double(state.snapshot.sink.spoolFailures)
        }
        registry.gauge("sluice_sink_failed", "1 when the sink has stopped with an error, or waits for a server.") {
            state.snapshot.sinkError == nil ? 0 : 1
        }
        registry.gauge(
            "sluice_lag_seconds",
            "How old the oldest transaction is that a step has not passed (of received, the oldest WAL); 0 where there is none.",
            ["step": "s3"]
        ) {
            let oldest = state.snapshot.sink.partitions.compactMap(\.oldest).min()
            return oldest.map { max(0, Double(clock.wall() / 1000 - $0) / 1e6) } ?? 0
        }
        registry.gauge("sluice_sink_lag_records", "Offsets between the end of the log and the objects.") {
            Double(
                state.snapshot.sink.partitions.reduce(0) { sum, partition in
                    sum + max(0, (partition.endOffset ?? partition.nextOffset) - partition.nextOffset)
                })
        }
    }

    /// Registers the series of a topic when its first object is written.
    func seeTopic(_ topic: String, in state: AgentState) {
        registry.counter("sluice_objects_total", "Objects written.", ["topic": topic]) {
            Double(state.snapshot.sink.topics[topic]?.objects ?? 0)
        }
        registry.counter("sluice_object_bytes_total", "Bytes of objects, as stored.", ["topic": topic]) {
            Double(state.snapshot.sink.topics[topic]?.bytes ?? 0)
        }
        registry.gauge(
            "sluice_sink_sealed_until_seconds",
            "The end of the last hour that a manifest seals, by the source's clock; 0 before.",
            ["topic": topic]
        ) { Double(state.snapshot.sink.topics[topic]?.sealedUntil ?? 0) / 1e6 }
        registry.counter("sluice_object_records_total", "Lines of objects.", ["topic": topic]) {
            Double(state.snapshot.sink.topics[topic]?.records ?? 0)
        }
    }
}
