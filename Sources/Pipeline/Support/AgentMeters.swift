import ChangeData
package import Telemetry

/// The agent's metrics, bound to its state: histograms are observed as things happen, all else is read at the scrape.
package final class AgentMeters: Sendable {
    let commitSeconds: Histogram
    let batchRows: Histogram
    let commitToKafka: Histogram
    package let commitToStore: Histogram

    package let registry: MetricsRegistry

    package init(_ registry: MetricsRegistry) {
        self.registry = registry
        commitSeconds = registry.histogram(
            "sluice_kafka_commit_seconds", "Time of one commit of a Kafka transaction.", bounds: Histogram.seconds)
        batchRows = registry.histogram(
            "sluice_kafka_batch_rows", "Records of one Kafka transaction.",
            bounds: [1, 10, 100, 1000, 10_000, 50_000, 100_000, 1_000_000])
        commitToKafka = registry.histogram(
            "sluice_commit_to_kafka_seconds", "From the commit in PostgreSQL to the commit in Kafka.",
            bounds: Histogram.seconds)
        commitToStore = registry.histogram(
            "sluice_commit_to_s3_seconds", "From the commit in PostgreSQL to the object in the store.",
            bounds: [1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600])
    }
}

extension AgentMeters {
    /// Shows who this is, for joins: of two agents behind one scrape job nothing else tells which is which.
    /// - Parameter half: `stream`, `sink` or `both`.
    package func identify(name: String, version: String, half: String) {
        registry.gauge(
            "sluice_info", "Always 1; its labels say who this is.", ["name": name, "version": version, "half": half]
        ) { 1 }
    }

    /// Shows what `state` holds, each time it is asked for.
    package func bind(_ state: AgentState, clock: Clock) {
        ProcessMetrics.register(in: registry)
        registry.gauge("sluice_up", "1 while the process runs.") { 1 }
        for phase in AgentState.Phase.allCases {
            registry.gauge("sluice_state", "1 for the state that the stream is in.", ["state": phase.rawValue]) {
                state.snapshot.phase == phase ? 1 : 0
            }
        }
        bindLag(state, clock: clock)
        bindWindow(state, clock: clock)
        bindTotals(state, clock: clock)
        bindIntake(state)
    }

    private func bindIntake(_ state: AgentState) {
        registry.gauge("sluice_streaming", "1 while large transactions are received before their commit.") {
            state.snapshot.intake.isStreaming ? 1 : 0
        }
        registry.gauge("sluice_streaming_open_transactions", "Transactions received in part, whose end has not come.") {
            Double(state.snapshot.intake.open)
        }
        registry.gauge("sluice_streaming_spool_bytes", "Bytes of such transactions on local disk.") {
            Double(state.snapshot.intake.bytes)
        }
        registry.counter("sluice_streaming_transactions_total", "Transactions that were received before their commit.")
        {
            Double(state.snapshot.intake.published)
        }
    }

    private func bindLag(_ state: AgentState, clock: Clock) {
        func bytes(_ step: String, _ reached: @escaping @Sendable (AgentState.Snapshot) -> UInt64) {
            registry.gauge(
                "sluice_lag_bytes", "WAL bytes between the server's end and what a step has reached.", ["step": step]
            ) {
                let snapshot = state.snapshot
                guard snapshot.serverLSN.rawValue > 0, reached(snapshot) > 0 else { return nil }
                return Double(snapshot.serverLSN.rawValue) - Double(min(snapshot.serverLSN.rawValue, reached(snapshot)))
            }
        }
        bytes("received") { $0.receivedLSN.rawValue }
        bytes("kafka") { $0.stored?.lsn.rawValue ?? 0 }
        bytes("confirmed") { $0.confirmedLSN.rawValue }
        bytes("restart") { $0.restartLSN.rawValue }
        // A partition in which nothing waits is as far as Kafka is.
        bytes("s3") { snapshot in
            let stored = snapshot.stored?.lsn ?? LSN(0)
            return snapshot.sink.partitions.reduce(stored) { reached, partition in
                partition.isBehind ? min(reached, partition.writtenLSN ?? LSN(1)) : reached
            }.rawValue
        }
        registry.gauge(
            "sluice_lag_seconds",
            "How old the oldest transaction is that a step has not passed (of received, the oldest WAL); 0 where there is none.",
            ["step": "received"]
        ) {
            state.snapshot.secondsBehind(at: clock.wall() / 1000).received
        }
        registry.gauge(
            "sluice_lag_seconds",
            "How old the oldest transaction is that a step has not passed (of received, the oldest WAL); 0 where there is none.",
            ["step": "kafka"]
        ) {
            state.snapshot.secondsBehind(at: clock.wall() / 1000).kafka
        }
        registry.gauge("sluice_slot_retained_wal_bytes", "WAL that the server keeps for the slot.") {
            state.snapshot.retainedWAL.map { Double($0) }
        }
        registry.gauge(
            "sluice_slot_safe_wal_bytes",
            "WAL that may be written before the slot is lost; absent where nothing bounds it."
        ) { state.snapshot.safeWAL.map { Double($0) } }
    }

    private func bindWindow(_ state: AgentState, clock: Clock) {
        registry.gauge(
            "sluice_replay_window_bytes",
            "WAL bytes from the oldest position that can be replayed to what Kafka holds; absent without a window."
        ) {
            let snapshot = state.snapshot
            guard let window = snapshot.window, let stored = snapshot.stored else { return nil }
            return Double(stored.lsn.rawValue - min(stored.lsn, window.lsn).rawValue)
        }
        registry.gauge(
            "sluice_replay_window_seconds",
            "How long ago the replay window begins; absent without a window, or while that is not known."
        ) { state.snapshot.window?.time.map { max(0, Double(clock.wall() / 1000 - $0) / 1e6) } }
    }

    private func bindTotals(_ state: AgentState, clock: Clock) {
        registry.counter("sluice_transactions_total", "PostgreSQL transactions committed to Kafka.") {
            Double(state.snapshot.transactions)
        }
        registry.counter("sluice_kafka_transactions_total", "Kafka transactions committed.") {
            Double(state.snapshot.kafkaTransactions)
        }
        registry.counter("sluice_messages_total", "Logical messages committed to Kafka.") {
            Double(state.snapshot.messages)
        }
        registry.counter(
            "sluice_dead_letters_total", "Changes that cannot be written as events, in kafka.dead_letter_topic."
        ) { Double(state.snapshot.deadLetters) }
        registry.counter("sluice_producers_renewed_total", "Producers that were discarded and made anew.") {
            Double(state.snapshot.producersRenewed)
        }
        registry.gauge(
            "sluice_tables_unpublished",
            "Tables of postgres.tables whose changes are not streamed, or that do not exist."
        ) { Double(state.snapshot.unpublished.count) }
        registry.gauge("sluice_buffered_bytes", "Bytes of encoded records between the socket and the commit.") {
            Double(state.snapshot.bufferedBytes)
        }
        registry.gauge(
            "sluice_stream_paused_seconds",
            "For how long the stream has read nothing, since all its memory waits for Kafka; 0 while it reads."
        ) { state.snapshot.pausedSince.map { Double(max(0, clock.monotonic() &- $0)) / 1e9 } ?? 0 }
    }

    /// Registers the series of tables and failures as they appear.
    func seeTable(_ name: String, in state: AgentState) {
        for operation in Operation.allCases where operation != .message {
            registry.counter(
                "sluice_rows_total", "Records committed to Kafka, by table and operation.",
                ["table": name, "op": operation.label]
            ) { Double(state.snapshot.tables[name]?[operation] ?? 0) }
        }
    }

    func seeFailure(_ failure: AgentState.Failure, in state: AgentState) {
        registry.counter(
            "sluice_errors_total", "Failures by component and class; each is retried unless the agent ended.",
            ["component": failure.component, "class": failure.kind]
        ) { Double(state.snapshot.failures[failure] ?? 0) }
    }
}

extension Operation {
    /// As Debezium's `op`, where it has one.
    fileprivate var label: String {
        switch self {
        case .create: "c"
        case .update: "u"
        case .delete: "d"
        case .truncate: "t"
        case .message: "m"
        case .tombstone: "tombstone"
        case .deadLetter: "dead_letter"
        }
    }
}
