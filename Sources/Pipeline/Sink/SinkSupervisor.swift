import Kafka
import ObjectStorage
import Telemetry
import Threads

/// Runs sessions of the sink one after the other until a stop or an error that a human must see. It blocks: give it a thread.
///
/// What it returns ends the sink alone: beside a stream, that goes on, and `sinkError` says why the sink does not.
package struct SinkSupervisor {
    private let settings: SinkSettings
    private let services: StreamServices
    private let memory = SinkMemory()
    private let board = HourBoard()

    package init(settings: SinkSettings, services: StreamServices) {
        self.settings = settings
        self.services = services
    }

    /// Answers why the sink must end; nil after a stop.
    package func run() -> AgentExit? {
        let sealer = WorkerThread(name: "hours") { [settings, services, board] in
            HourSealer(settings, services, board).run()
        }
        let exit = attempts()
        services.state.left(.sink)
        board.close()
        _ = sealer.join(milliseconds: 2000)
        if let exit { services.state.update { $0.sinkError = exit.message } }
        return exit
    }

    private func attempts() -> AgentExit? {
        let wakeup = Wakeup()
        services.stop.register(wakeup)
        defer { services.stop.unregister(wakeup) }
        let since = services.clock.monotonic()
        var backoff = Backoff(first: .milliseconds(200), most: .seconds(15))
        var isChecked = false
        while !services.stop.isRequested {
            let started = services.clock.monotonic()
            let reason: String
            let component: String
            do throws(SinkFailure) {
                if !isChecked { try SinkPreflight(settings: settings, services: services).run() }
                isChecked = true
                services.state.update { $0.sink.sessions += 1 }
                try SinkSession(settings, services, memory, board).run()
                return nil
            } catch {
                switch error {
                case .exit(let exit): return exit
                case .retry(let failed, let why): (component, reason) = (failed, why)
                }
            }
            let now = services.clock.monotonic()
            if now &- started > .seconds(30) { backoff.reset() }
            services.state.failed(component, kind: "sink")
            services.state.update { $0.sinkError = reason }
            if !memory.hasRun, now &- since >= settings.startTimeout {
                return AgentExit(
                    .unavailable, "\(component == "s3" ? "the store \(settings.storeName)" : component) cannot be used",
                    details: [reason, "tried for \(settings.startTimeout / .seconds(1)) s (limits.start_timeout)"],
                    hints: ["sluice check"])
            }
            let pause = backoff.next(random: services.clock.random())
            services.log.warning(
                "the sink's session ended, another follows",
                ["component": .init(component), "reason": .init(reason), "pause_ms": .init(pause / 1_000_000)])
            wakeup.wait(milliseconds: Int(pause / 1_000_000))
        }
        return nil
    }
}
