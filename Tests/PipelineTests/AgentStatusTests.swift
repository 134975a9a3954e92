import ChangeData
import Foundation
import Kafka
import Postgres
import Synchronization
import Telemetry
import Testing

@testable import Pipeline
import Threads

/// What a kubelet asks: whether the agent's loops turn, and whether it streams.
@Suite struct AgentStatusTests {
    private let state = AgentState()
    private let now = Now()

    /// A clock that only the test moves.
    private final class Now: Sendable {
        private let nanoseconds = Atomic<Int64>(0)
        var value: Int64 { nanoseconds.load(ordering: .relaxed) }
        func pass(_ seconds: Int) { nanoseconds.add(.seconds(seconds), ordering: .relaxed) }
    }

    private var status: AgentStatus {
        AgentStatus(
            name: "a", version: "1", slot: "s", state: state,
            clock: Clock(wall: { [now] in now.value }, monotonic: { [now] in now.value }, random: { 0 }),
            streams: true, sinks: true)
    }

    private func turn(_ loops: AgentState.Loop...) {
        for loop in loops { state.turned(loop, now: now.value) }
    }

    @Test func aLoopThatStandsStillIsNamed() {
        turn(.stream, .publisher, .sink)
        now.pass(60)
        #expect(status.health.status == 200)
        turn(.stream, .publisher)
        now.pass(1)
        #expect(status.health == HTTPResponse(status: 503, text: "sink has not turned for 61 s\n"))
    }

    /// One state, and each series that a dashboard or an alert asks for.
    @Test func theMetricsSayWhatTheStateHolds() {
        let registry = MetricsRegistry()
        let meters = AgentMeters(registry)
        let state = AgentState(meters: meters)
        let clock = Clock(wall: { [now] in now.value }, monotonic: { [now] in now.value }, random: { 0 })
        meters.identify(name: "tesouro", version: "1.2", half: "both")
        meters.bind(state, clock: clock)
        meters.bindSink(state, clock: clock)
        func lines() -> Set<String> { Set(registry.prometheusText().split(separator: "\n").map(String.init)) }
        let before = lines()
        for absent in [
            "sluice_slot_retained_wal_bytes ", "sluice_slot_safe_wal_bytes ", "sluice_replay_window_bytes ",
            "sluice_lag_bytes{",
        ] {
            #expect(!before.contains { $0.hasPrefix(absent) }, "nothing is known of it yet: \(absent)")
        }
        now.pass(1000)
        state.entered(.streaming)
        var counts = OperationCounts()
        counts.passed(
            Transaction(xid: 7, commitLSN: LSN(690), endLSN: LSN(700), commitTime: 998_000_000, changes: 2))
        state.committed(
            AgentState.Commit(
                position: StoredPosition(
                    systemID: "1", timeline: 1, slot: "s", epoch: 1, lsn: LSN(700), options: "", state: .streaming),
                rows: 2, bytes: 900, counts: counts, tables: [], topics: [], seconds: 0.02, now: now.value))
        state.update { snapshot in
            snapshot.see(LSN(1000), at: 990_000_000)
            snapshot.received(LSN(900))
            snapshot.confirmedLSN = LSN(600)
            snapshot.restartLSN = LSN(500)
            snapshot.retainedWAL = 4096
            snapshot.safeWAL = -1
            snapshot.bufferedBytes = 11
            snapshot.producersRenewed = 3
            snapshot.unpublished = ["public.a"]
            snapshot.pausedSince = .seconds(995)
            snapshot.intake.open = 2
            snapshot.intake.bytes = 77
            snapshot.sink.partitions = [
                SinkStatus.Partition(
                    partition: TopicPartition("t", 0), nextOffset: 40, endOffset: 45, openBytes: 1, hour: nil,
                    oldest: 970_000_000, watermark: nil, writtenLSN: LSN(400))
            ]
            snapshot.sink.followed = 5
            snapshot.sink.dropped = 6
            snapshot.sink.retries = 8
            snapshot.sink.spoolBytes = 12
            snapshot.sink.memoryBytes = 13
            snapshot.sink.isPaused = true
            snapshot.sink.spoolFailures = 9
            snapshot.sinkError = "the store is away"
        }
        state.failed("s3", kind: "put")
        state.stored(topic: "t", bytes: 321, records: 4, tombstones: 1, seconds: 7)
        state.sealed("t", until: 3_600_000_000)
        let expected: Set<String> = [
            #"sluice_info{half="both",name="tesouro",version="1.2"} 1"#, "sluice_up 1",
            #"sluice_state{state="streaming"} 1"#, #"sluice_state{state="starting"} 0"#,
            #"sluice_state{state="standby"} 0"#, #"sluice_state{state="stopped"} 0"#,
            #"sluice_lag_bytes{step="received"} 100"#, #"sluice_lag_bytes{step="kafka"} 300"#,
            #"sluice_lag_bytes{step="confirmed"} 400"#, #"sluice_lag_bytes{step="restart"} 500"#,
            #"sluice_lag_bytes{step="s3"} 600"#, #"sluice_lag_seconds{step="received"} 10"#,
            #"sluice_lag_seconds{step="s3"} 30"#, "sluice_slot_retained_wal_bytes 4096",
            "sluice_slot_safe_wal_bytes -1",
            "sluice_transactions_total 1", "sluice_kafka_transactions_total 1", "sluice_buffered_bytes 11",
            "sluice_producers_renewed_total 3", "sluice_tables_unpublished 1", "sluice_stream_paused_seconds 5",
            "sluice_streaming_open_transactions 2", "sluice_streaming_spool_bytes 77",
            #"sluice_commit_to_kafka_seconds_bucket{le="2.5"} 1"#, "sluice_commit_to_kafka_seconds_sum 2",
            #"sluice_commit_to_s3_seconds_bucket{le="5"} 0"#, #"sluice_commit_to_s3_seconds_bucket{le="10"} 1"#,
            "sluice_kafka_commit_seconds_count 1", #"sluice_kafka_batch_rows_bucket{le="10"} 1"#,
            "sluice_sink_followed_total 5", "sluice_sink_dropped_total 6", "sluice_sink_paused 1",
            "sluice_sink_spool_failures_total 9", "sluice_sink_failed 1", "sluice_sink_lag_records 5",
            "sluice_spool_bytes 12", "sluice_sink_buffered_bytes 13",
            #"sluice_retries_total{class="transient",component="s3"} 8"#,
            #"sluice_errors_total{class="put",component="s3"} 1"#, #"sluice_objects_total{topic="t"} 1"#,
            #"sluice_object_bytes_total{topic="t"} 321"#, #"sluice_object_records_total{topic="t"} 4"#,
            #"sluice_sink_sealed_until_seconds{topic="t"} 3600"#,
        ]
        let there = lines()
        #expect(expected.subtracting(there) == [], "\(there.sorted().joined(separator: "\n"))")
    }

    /// Another server may answer at the same address, as where a virtual one has moved and the stream hangs on the old: its clock
    /// would seal hours of which the stream has not sent all.
    @Test func onlyTheServerThatIsStreamedFromSaysHowFarItIs() {
        let ours = Walsender(pid: 7, startedAt: 70)
        state.update { $0.walsender = ours }
        func look(_ holder: Walsender?, in session: UInt64 = 1) -> Bool {
            let sight = AgentState.Sight(holder: holder, timeline: 2, seen: (LSN(500), 9_000))
            return state.looked(sight, in: session) != nil
        }
        #expect(!look(ours), "it does not stream yet")
        state.entered(.streaming)
        for holder in [nil, Walsender(pid: 8, startedAt: 70), Walsender(pid: 7, startedAt: 71)] {
            #expect(!look(holder) && state.serverSeen == (LSN(0), 0) && state.seen.timeline == nil)
        }
        #expect(!look(ours, in: 0) && state.serverSeen == (LSN(0), 0), "it was asked before the session began")
        #expect(look(ours) && state.serverSeen == (LSN(500), 9_000) && state.seen.timeline == 2)
    }

    /// What the server does not send has no commit time: that it had been written is known.
    @Test func whatTheServerDoesNotSendIsLate() {
        let registry = MetricsRegistry()
        let clock = Clock(wall: { [now] in now.value }, monotonic: { [now] in now.value }, random: { 0 })
        AgentMeters(registry).bind(state, clock: clock)
        func lag() -> String? {
            let line = registry.prometheusText().split(separator: "\n").first {
                $0.hasPrefix(#"sluice_lag_seconds{step="received"}"#)
            }
            return line?.split(separator: " ").last.map(String.init)
        }
        func see(_ end: UInt64) { state.update { $0.see(LSN(end), at: now.value / 1000) } }
        // A standby gets nothing.
        see(50)
        now.pass(100)
        #expect(lag() == "0")
        state.entered(.streaming)
        state.update { $0.received(LSN(90)) }
        see(100)
        now.pass(30)
        see(200)
        #expect(lag() == "30")
        #expect(status.document.source?.lagSeconds == 30)
        state.update { $0.received(LSN(99)) }
        #expect(lag() == "30")
        state.update { $0.received(LSN(100)) }
        #expect(lag() == "0")
        see(200)
        now.pass(5)
        #expect(lag() == "5")
        state.update { $0.received(LSN(300)) }
        see(300)
        #expect(lag() == "0")
        #expect(status.document.source?.lagSeconds == 0)
        state.update { $0.pendingTime = now.value / 1000 - 2_500_000 }
        #expect(status.document.source?.lagSeconds == 2.5)
        state.entered(.standby, holder: 1)
        #expect(status.document.source?.lagSeconds == nil)
    }

    @Test func thePublisherHasTheTimeThatCallsToKafkaTake() {
        turn(.publisher)
        now.pass(180)
        #expect(status.health.status == 200)
        now.pass(1)
        #expect(status.health == HTTPResponse(status: 503, text: "publisher has not turned for 181 s\n"))
    }

    @Test func aLoopThatHasEndedNeedNotTurn() {
        turn(.stream, .sink)
        state.left(.sink)
        now.pass(50)
        turn(.stream)
        now.pass(50)
        #expect(status.health.status == 200)
    }

    /// A kubelet kills what is not healthy, and a server that is away is not for it to mend.
    @Test func anAgentThatWaitsForPostgresIsHealthy() throws {
        let scale: Int64 = 50
        let start = Clock.system.monotonic()
        let clock = Clock(
            wall: { Clock.system.wall() }, monotonic: { (Clock.system.monotonic() - start) * scale }, random: { 0 })
        let stop = StopSignal()
        let services = StreamServices(
            clock: clock,
            log: Logger(level: .error, format: .text(isColoured: false), sink: LogSink { _ in }, now: { 0 }),
            state: state, stop: stop)
        // Nobody listens on port 1.
        var settings = try PipelineTests.settings(
            try KafkaSettings(brokers: "127.0.0.1:1", clientID: "test"), name: "away")
        settings.postgres = try ConnectionSettings(url: "postgres://nobody@127.0.0.1:1/nothing")
        settings.startTimeout = .seconds(100_000)
        let supervisor = StreamSupervisor(settings: settings, services: services)
        state.turned(.stream, now: clock.monotonic())
        let thread = WorkerThread(name: "supervisor") { _ = supervisor.run() }
        while clock.monotonic() < .seconds(90) { usleep(10_000) }
        let status = AgentStatus(
            name: "a", version: "1", slot: "s", state: state, clock: clock, streams: true, sinks: true)
        #expect(status.health == HTTPResponse(status: 200, text: "ok\n"))
        #expect((state.snapshot.failures[.init(component: "postgres", kind: "session")] ?? 0) > 1)
        stop.request(deadline: clock.monotonic())
        #expect(thread.join(milliseconds: 10_000))
    }

    @Test func readinessTellsActiveAndStandbyApart() {
        #expect(status.readiness == HTTPResponse(status: 503, text: "starting\n"))
        state.entered(.standby, holder: 1)
        #expect(status.readiness == HTTPResponse(status: 503, text: "standby\n"))
        state.entered(.streaming)
        #expect(status.readiness == HTTPResponse(text: "streaming\n"))
        state.update { $0.sinkError = "the store is away" }
        #expect(status.readiness == HTTPResponse(status: 503, text: "sink: the store is away\n"))
    }

    /// One of the store's threads that gets through has shown nothing of another, nor of the partitions.
    @Test func theSinkIsReadyWhenNothingIsLeftThatFails() {
        let (one, other) = (Now(), Now())
        let first = StandingFaults.Source.store(ObjectIdentifier(one))
        let second = StandingFaults.Source.store(ObjectIdentifier(other))
        func error() -> String? { state.snapshot.sinkError }
        state.entered(.streaming)
        state.update { $0.sinkFaults.set("one fails", by: first) }
        state.update { $0.sinkFaults.set("the other fails", by: second) }
        state.update { $0.sinkError = "a partition cannot be read" }
        #expect(error() == "one fails")
        state.update { $0.sinkFaults.set("one fails again", by: first) }
        #expect(error() == "one fails again", "it is the one that stands longest")
        state.update { $0.sinkFaults.clear(by: first) }
        #expect(error() == "the other fails")
        state.update { $0.sinkError = nil }
        #expect(status.readiness == HTTPResponse(status: 503, text: "sink: the other fails\n"))
        #expect(status.document.sink?.state == "failed")
        state.update { $0.sinkFaults.clear(by: first) }
        #expect(error() == "the other fails")
        state.update { $0.sinkFaults.clear(by: second) }
        #expect(error() == nil && status.readiness.status == 200)
    }
}
