import ChangeData
import Foundation
import Kafka
import Postgres
import Synchronization
import Telemetry
import Testing

@testable import Pipeline

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
