import Configuration
import Glibc
import Kafka
import Pipeline
import Telemetry

/// `sluice run`: builds the parts and runs them until a signal.
struct RunCommand {
    private let configuration: Configuration
    private let purpose: Configuration.Purpose

    init(_ configuration: Configuration, purpose: Configuration.Purpose) {
        self.configuration = configuration
        self.purpose = purpose
    }

    func run() throws(AgentExit) {
        try OpenFiles.raiseLimit()
        let clock = Clock.system
        let meters = AgentMeters(MetricsRegistry())
        let state = AgentState(meters: meters)
        meters.identify(
            name: configuration.name, version: Application.version,
            half: purpose == .both ? "both" : purpose == .sink ? "sink" : "stream")
        meters.bind(state, clock: clock)
        if purpose != .stream { meters.bindSink(state, clock: clock) }
        let log = Settings.logger(configuration)
        let stop = StopSignal()
        let services = StreamServices(clock: clock, log: log, state: state, stop: stop)
        let streams = purpose != .sink
        let status = AgentStatus(
            name: configuration.name, version: Application.version, slot: streams ? configuration.postgres.slot : nil,
            state: state, clock: clock, streams: streams, sinks: purpose != .stream)
        let http = try listen(status, meters.registry)
        defer { http?.stop() }
        let signals = Signals.handle(
            stop: stop, timeout: configuration.limits.stopTimeout.inNanoseconds, clock: clock,
            told: { log.info("stopping") },
            expired: { _ in
                // As after a kill: what is not in Kafka comes again.
                log.warning("the time of the stop is up")
                return 0
            })
        defer { withExtendedLifetime(signals) {} }
        log.info(
            "sluice",
            [
                "version": .init(Application.version), "name": .init(configuration.name),
                "librdkafka": .init(kafkaLibraryVersion),
            ])
        if let exit = try halves(services).run(services) { throw exit }
        log.info("stopped")
    }

    private func halves(_ services: StreamServices) throws(AgentExit) -> Halves {
        var halves = Halves()
        if purpose != .sink {
            let settings = try Settings.stream(configuration, sinkToo: purpose == .both)
            halves.stream = { StreamSupervisor(settings: settings, services: services).run() }
            halves.watch = { SourceWatch(settings: settings, services: services).run() }
        }
        if purpose != .stream {
            let settings = try Settings.sink(configuration, streamsToo: purpose == .both)
            halves.sink = { SinkSupervisor(settings: settings, services: services).run() }
        }
        return halves
    }

    private func listen(_ status: AgentStatus, _ registry: MetricsRegistry) throws(AgentExit) -> HTTPServer? {
        guard let address = configuration.http else { return nil }
        do throws(HTTPServerError) {
            return try HTTPServer(
                host: address.host, port: address.port,
                routes: [
                    "/": { .page }, "/metrics": { .metrics(registry) }, "/healthz": { status.health },
                    "/readyz": { status.readiness }, "/status": { .status(status.document) },
                ])
        } catch { throw Settings.problem(configuration, "http", error.description) }
    }
}
