import Dates
package import Telemetry

/// `/status`, `/readyz` and `/healthz` out of the agent's state.
package struct AgentStatus: Sendable {
    package let name: String
    package let version: String
    package let slot: String?
    package let state: AgentState
    package let clock: Clock
    /// Whether this process streams, sinks.
    package let streams: Bool
    package let sinks: Bool
    private let started: Int64

    package init(
        name: String, version: String, slot: String?, state: AgentState, clock: Clock, streams: Bool, sinks: Bool
    ) {
        self.name = name
        self.version = version
        self.slot = slot
        self.state = state
        self.clock = clock
        self.streams = streams
        self.sinks = sinks
        started = clock.monotonic()
    }

    /// 200 while the loops turn.
    package var health: HTTPResponse {
        let now = clock.monotonic()
        for (loop, turn) in state.snapshot.turns where now &- turn > loop.patience {
            return HTTPResponse(
                status: 503, text: "\(loop.rawValue) has not turned for \((now &- turn) / .seconds(1)) s\n")
        }
        return HTTPResponse(text: "ok\n")
    }

    /// 200 when streaming; 503 with `standby`, `starting`, or the sink's error.
    package var readiness: HTTPResponse {
        let snapshot = state.snapshot
        if streams, snapshot.phase != .streaming {
            return HTTPResponse(status: 503, text: snapshot.phase.rawValue + "\n")
        }
        if let error = snapshot.sinkError { return HTTPResponse(status: 503, text: "sink: \(error)\n") }
        return HTTPResponse(text: "streaming\n")
    }

    package var document: StatusDocument {
        let snapshot = state.snapshot
        var document = StatusDocument(
            name: name, version: version, state: streams ? snapshot.phase.rawValue : "sink only",
            time: ISOTime.text(microseconds: clock.wall() / 1000),
            uptimeSeconds: Double(clock.monotonic() &- started) / 1e9,
            detail: snapshot.streamError ?? snapshot.slotHolder.map { "the slot is held by walsender \($0)" })
        if streams {
            document.source = source(snapshot)
            var kafka = StatusDocument.Kafka()
            kafka.transactions = Int64(snapshot.kafkaTransactions)
            kafka.rows = Int64(snapshot.rows)
            kafka.lastCommitMilliseconds = snapshot.kafkaTransactions > 0 ? snapshot.lastCommitSeconds * 1000 : nil
            kafka.bufferedBytes = Int64(snapshot.bufferedBytes)
            kafka.deadLetters = snapshot.deadLetters > 0 ? Int64(snapshot.deadLetters) : nil
            document.kafka = kafka
        }
        document.tables = snapshot.tables.sorted { $0.key < $1.key }.map { name, table in
            var row = StatusDocument.Table(table: name, topic: table.topic)
            row.inserts = Int64(table[.create])
            row.updates = Int64(table[.update])
            row.deletes = Int64(table[.delete])
            row.truncates = Int64(table[.truncate])
            return row
        }
        if sinks { document.sink = sink(snapshot) }
        document.gaps = (snapshot.stored?.gaps ?? []).map { gap in
            .init(
                kind: gap.kind, fromLSN: gap.from.description, toLSN: gap.to.description,
                acceptedAt: ISOTime.text(microseconds: gap.acceptedAt))
        }
        document.errors = snapshot.failures.map { failure, count in
            .init(kind: "\(failure.component)/\(failure.kind)", count: Int64(count))
        }.sorted { $0.kind < $1.kind }
        return document
    }

    private func sink(_ snapshot: AgentState.Snapshot) -> StatusDocument.Sink {
        let seen = snapshot.sink
        var sink = StatusDocument.Sink(
            state: snapshot.sinkError != nil
                ? "failed" : seen.isPaused ? "paused" : seen.sessions > 0 ? "running" : "starting")
        sink.detail = snapshot.sinkError
        sink.partitions = seen.partitions.sorted { $0.partition < $1.partition }.map { partition in
            var row = StatusDocument.Partition(
                topic: partition.partition.topic, partition: Int64(partition.partition.partition))
            row.lastOffset = partition.nextOffset > 0 ? partition.nextOffset - 1 : nil
            row.lagRecords = partition.endOffset.map { max(0, $0 - partition.nextOffset) }
            row.openBytes = Int64(partition.openBytes)
            row.hour = partition.hour.map { ISOTime.text(microseconds: $0 * 3_600_000_000).prefix(13) + "Z" }
            return row
        }
        sink.objects = Int64(seen.topics.values.reduce(0) { $0 + $1.objects })
        sink.bytes = Int64(seen.topics.values.reduce(0) { $0 + $1.bytes })
        sink.dropped = Int64(seen.dropped)
        return sink
    }

    private func source(_ snapshot: AgentState.Snapshot) -> StatusDocument.Source {
        var source = StatusDocument.Source()
        let server = snapshot.serverLSN
        func lag(_ reached: UInt64) -> Int64? {
            server.rawValue > 0 && reached > 0
                ? Int64(clamping: server.rawValue) - Int64(clamping: min(server.rawValue, reached)) : nil
        }
        source.serverLSN = server.rawValue > 0 ? server.description : nil
        source.receivedLSN = snapshot.receivedLSN.rawValue > 0 ? snapshot.receivedLSN.description : nil
        source.storedLSN = snapshot.stored?.lsn.description
        source.confirmedLSN = snapshot.confirmedLSN.rawValue > 0 ? snapshot.confirmedLSN.description : nil
        source.restartLSN = snapshot.restartLSN.rawValue > 0 ? snapshot.restartLSN.description : nil
        source.receivedLagBytes = lag(snapshot.receivedLSN.rawValue)
        source.storedLagBytes = lag(snapshot.stored?.lsn.rawValue ?? 0)
        source.confirmedLagBytes = lag(snapshot.confirmedLSN.rawValue)
        source.restartLagBytes = lag(snapshot.restartLSN.rawValue)
        let behind = snapshot.secondsBehind(at: clock.wall() / 1000)
        source.lagSeconds = snapshot.phase == .streaming ? max(behind.received, behind.kafka) : nil
        source.retainedWALBytes = snapshot.retainedWAL.map { Int64(clamping: $0) }
        source.safeWALBytes = snapshot.safeWAL
        source.replayLSN = snapshot.window?.lsn.description
        source.replayTime = snapshot.window?.time.map { ISOTime.text(microseconds: $0) }
        source.slot = slot
        source.epoch = (snapshot.stored?.epoch).map { Int64($0) }
        return source
    }
}

extension AgentState.Snapshot {
    /// Seconds, at a time in microseconds since 1970, since the oldest transaction was committed that a step has not yet passed; 0 when there
    /// is none.
    func secondsBehind(at now: Int64) -> (received: Double, kafka: Double) {
        func since(_ time: Int64?) -> Double { time.map { max(0, Double(now - $0) / 1e6) } ?? 0 }
        // Of a transaction that has not come nothing is known but that the server had written it by then.
        return (since(unreceived?.since), since(pendingTime))
    }
}
