import Postgres
import Telemetry
import Threads

/// Runs sessions of the stream one after the other, as a standby while another agent holds the slot, until a stop or an
/// error that a human must see.
package struct StreamSupervisor {
    private let settings: StreamSettings
    private let services: StreamServices
    private let memory = SessionMemory()

    package init(settings: StreamSettings, services: StreamServices) {
        self.settings = settings
        self.services = services
    }

    /// Answers why the agent must end; nil after a stop.
    package func run() -> AgentExit? {
        let wakeup = Wakeup()
        services.stop.register(wakeup)
        defer {
            services.stop.unregister(wakeup)
            services.state.entered(.stopped)
        }
        var backoff = Backoff(first: .milliseconds(200), most: .seconds(10))
        let since = services.clock.monotonic()
        // All that is needed was there: from then on, as after a stream, it is waited for, however long that takes.
        var hasStoodBy = false
        while !services.stop.isRequested {
            services.turned(.stream)
            let hadStreamed = memory.hasStreamed
            let started = services.clock.monotonic()
            do throws(SessionFailure) {
                try StreamSession(settings: settings, services: services, memory: memory).run()
                return nil
            } catch {
                if services.clock.monotonic() &- started > .seconds(30) { backoff.reset() }
                switch error {
                case .stopped: continue
                case .exit(let exit): return exit
                case .unpublishable(let exit, let lsn):
                    guard memory.ends(before: lsn, exit) else { return exit }
                    services.log.warning(
                        "a transaction cannot be published: what was committed before it goes first",
                        ["commit_lsn": .init(lsn), "reason": .init(exit.message)])
                case .slotInUse:
                    // One that has given up the slot to publish what is before a transaction was not replaced: whoever has it meanwhile
                    // meets the same transaction.
                    let hasStreamed = (hadStreamed || memory.hasStreamed) && memory.end == nil
                    if let exit = wait(asStreamed: hasStreamed, wakeup) { return exit }
                    hasStoodBy = true
                case .fallBack(let refusal, let lsn):
                    memory.refused(refusal.kind, at: lsn)
                    services.refused(refusal)
                    if services.state.snapshot.phase == .streaming { services.state.entered(.starting) }
                case .refused(let exit):
                    guard hasStoodBy || memory.hasStreamed else { return exit }
                    note(.kafka, exit.message)
                    pause(after: .kafka, exit.message, &backoff, wakeup)
                case .retry(let component, let reason):
                    note(component, reason)
                    if !hasStoodBy, !memory.hasStreamed, services.clock.monotonic() &- since >= settings.startTimeout {
                        return AgentExit(
                            .unavailable, "\(component.rawValue) cannot be used",
                            details: [
                                reason, component == .kafka ? services.state.snapshot.kafkaRefusal : nil,
                                "tried for \(settings.startTimeout / .seconds(1)) s (limits.start_timeout)",
                            ].compactMap(\.self),
                            hints: ["sluice check"])
                    }
                    pause(after: component, reason, &backoff, wakeup)
                }
            }
        }
        return nil
    }

    private func note(_ component: SessionFailure.Component, _ reason: String) {
        services.state.failed(component.rawValue, kind: "session")
        services.state.update { $0.streamError = reason }
    }

    private func pause(
        after component: SessionFailure.Component, _ reason: String, _ backoff: inout Backoff, _ wakeup: Wakeup
    ) {
        if services.state.snapshot.phase == .streaming { services.state.entered(.starting) }
        let pause = backoff.next(random: services.clock.random())
        services.log.warning(
            "the session ended, another follows",
            ["component": .init(component.rawValue), "reason": .init(reason), "pause_ms": .init(pause / 1_000_000)])
        wakeup.wait(milliseconds: Int(pause / 1_000_000))
    }

    /// Waits until the slot is free.
    ///
    /// An agent that has streamed and finds its slot with another was replaced: exit 4. Its own old walsender may outlive a
    /// connection that broke, though (trap 14): that one is ended, being ours.
    private func wait(asStreamed hasStreamed: Bool, _ wakeup: Wakeup) -> AgentExit? {
        var told: Int32 = 0
        while !services.stop.isRequested {
            switch services.slotHolder(settings, ours: memory.walsenders) {
            case .us(let walsender):
                services.log.warning(
                    "ending our own old walsender", ["pid": .init(walsender.pid), "slot": .init(settings.slot)])
                services.terminate(settings, walsender)
            case .perhapsUs(let walsender):
                // Neither ended nor feared: its server ends it in time where it is ours.
                if told != walsender.pid {
                    told = walsender.pid
                    services.log.warning(
                        "waiting for a walsender that may be our own old one",
                        ["slot": .init(settings.slot), "pid": .init(walsender.pid)])
                }
                services.state.entered(.standby, holder: walsender.pid)
            case .other(let pid):
                if hasStreamed {
                    return AgentExit(
                        .replaced, "slot \(settings.slot) is held by another agent (walsender \(pid))",
                        hints: ["nothing is lost: the other agent streams; start this one again to have a standby"])
                }
                if told != pid {
                    told = pid
                    services.log.info(
                        "standby: another agent has the slot", ["slot": .init(settings.slot), "pid": .init(pid)])
                }
                services.state.entered(.standby, holder: pid)
            case .nobody: return nil
            case .unknown(let reason):
                services.state.failed("postgres", kind: "slot")
                services.log.warning("cannot see who holds the slot", ["reason": .init(reason)])
                return nil
            }
            services.turned(.stream)
            wakeup.wait(milliseconds: 200)
        }
        return nil
    }
}
