import ChangeData
import Dates
import Kafka
import Postgres
import Threads

/// `sluice replay`: publishes a stretch of the past again, into topics of another prefix, while the live stream goes on (C9).
///
/// What is asked for is turned into a range of LSNs first, and the range is stored before the first row: an interrupted replay
/// goes on with the same range when the same command is given again, and a finished one says that it is.
package struct ReplayCommand {
    /// Of the live stream.
    private let settings: StreamSettings
    private let services: StreamServices
    private let output: Output

    package init(settings: StreamSettings, services: StreamServices, output: Output) {
        self.settings = settings
        self.services = services
        self.output = output
    }

    /// - Parameter dryRun: counts, and produces nothing.
    package func run(_ request: ReplayRequest, dryRun: Bool) throws(AgentExit) {
        let topics = try ReplayTopics(settings: settings).check(request.topicPrefix)
        // The slot before the position: an agent that runs moves both meanwhile.
        let slot = try gather().facts.slot
        let live = try livePosition()
        let (facts, senderTimeout) = try judge(live, slot)
        var scope = request.scope(name: settings.name, range: ReplayRange(from: LSN(0), to: LSN(0)))
        let planner = ReplayPlanner(
            settings: settings, services: services, live: live, request: request, copy: scope.slot + "_scan")
        let begun = try position(of: scope, live)
        let range: ReplayRange
        if let known = begun?.replay { range = known } else { range = try planner.plan() }
        try stopped()
        scope.range = range
        scope.epochs = live.epochs
        var initial = StoredPosition(
            systemID: live.systemID, timeline: facts.timeline, slot: settings.slot, epoch: live.epoch, lsn: range.from,
            options: settings.fingerprint, state: .streaming, replay: range)
        initial.format = FormatPin(settings.format)
        announce(scope, begun, dryRun)
        guard range.from < range.to, (begun?.lsn ?? range.from) < range.to else { return }
        let replay = replaySettings(scope)
        if !dryRun { try makeProgressTopic(replay) }
        let tally = dryRun ? ReplayTally() : nil
        let session = ReplaySession(
            settings: replay, services: services, senderTimeout: senderTimeout, source: settings.slot, initial: initial,
            tally: tally, refusal: { planner.refuse(resumingAt: $0, window: $1) })
        services.state.update { $0.stored = begun ?? initial }
        try follow(range) { () throws(AgentExit) in try repeatUntilDone(session, range) }
        report(scope, topics, tally)
    }

    // MARK: Before

    private func livePosition() throws(AgentExit) -> StoredPosition {
        switch try found(settings) {
        case .position(let position): return position
        case .nothing:
            throw AgentExit(
                .gap, "the progress topic holds no position for slot \(settings.slot)", hints: ["sluice init"])
        case .unreadable(let why):
            throw StartRefusal.unreadable(settings.progressTopic, why).exit
        }
    }

    private func found(_ settings: StreamSettings) throws(AgentExit) -> ProgressStore.Found {
        do throws(KafkaError) {
            return try ProgressStore(settings, events: services.kafkaEvents).readIfThere(timeout: .seconds(15)).found
        } catch { throw CommandErrors.exit(error) }
    }

    /// The live slot and its position must fit together, whether an agent streams from it or not.
    private func judge(
        _ live: StoredPosition, _ slot: StartFacts.Slot?
    ) throws(AgentExit) -> (facts: StartFacts, senderTimeout: Int) {
        var found = try gather()
        found.facts.slot = slot
        do throws(StartRefusal) { try StartDecision.judge(live, found.facts) } catch { throw error.exit }
        let compared: HistoryScan.Outcome
        do throws(PostgresError) {
            compared = try HistoryScan.judge(live, found.facts, settings, services)
        } catch { throw CommandErrors.exit(error) }
        try stopped()
        switch compared {
        case .fits: break
        case .differs(let refusal): throw refusal.exit
        case .notCompared(let finding): output.findings([finding])
        }
        return found
    }

    private func gather() throws(AgentExit) -> (facts: StartFacts, senderTimeout: Int) {
        do throws(PostgresError) { return try StartFacts.gather(settings) } catch { throw CommandErrors.exit(error) }
    }

    /// How far this replay has come; nil if it was never begun.
    private func position(of scope: ReplayScope, _ live: StoredPosition) throws(AgentExit) -> StoredPosition? {
        switch try found(replaySettings(scope)) {
        case .nothing: return nil
        case .position(let position):
            guard position.systemID == live.systemID, position.epoch == live.epoch, position.replay != nil else {
                throw AgentExit(
                    .gap, "replay \(scope.id) was begun before a gap: its range means other WAL",
                    details: ["epoch then: \(position.epoch), now: \(live.epoch)"],
                    hints: ["choose another --topic-prefix, and a range of now"])
            }
            if var exit = position.refusal(of: settings.format) {
                exit.hints = [exit.hints[0], "choose another --topic-prefix"]
                throw exit
            }
            return position
        case .unreadable(let why):
            throw StartRefusal.unreadable(replaySettings(scope).progressTopic, why).exit
        }
    }

    private func replaySettings(_ scope: ReplayScope) -> StreamSettings {
        var replay = settings
        replay.slot = scope.slot
        replay.replay = scope
        replay.window = nil
        return replay
    }

    private func makeProgressTopic(_ replay: StreamSettings) throws(AgentExit) {
        let maker: TopicMaker
        do throws(KafkaError) {
            maker = try TopicMaker(replay, events: services.kafkaEvents, log: services.log)
        } catch { throw CommandErrors.exit(error) }
        do throws(TopicMaker.Problem) {
            try maker.ensureProgress()
        } catch { throw error.exit }
    }

    // MARK: Running

    /// Sessions, one after the other, as long as they get on.
    private func repeatUntilDone(_ session: ReplaySession, _ range: ReplayRange) throws(AgentExit) {
        var backoff = Backoff(first: .milliseconds(200), most: .seconds(5))
        var since = services.clock.monotonic()
        var reached = services.state.snapshot.stored?.lsn
        let wakeup = Wakeup()
        services.stop.register(wakeup)
        defer { services.stop.unregister(wakeup) }
        while !services.stop.isRequested {
            let failure: (component: String, reason: String)
            do throws(SessionFailure) {
                try session.run()
                break
            } catch {
                switch error {
                case .exit(let exit), .refused(let exit): throw exit
                case .unpublishable(let exit, let lsn):
                    // What is before it goes first.
                    guard session.memory.ends(before: lsn, exit) else { throw exit }
                    continue
                case .stopped: continue
                case .slotInUse:
                    failure = ("postgres", "this replay runs already: slot \(session.settings.slot) is there")
                case .retry(let component, let reason): failure = (component.rawValue, reason)
                // A replay reads what was committed long ago: with protocol 1.
                case .fallBack(let refusal, _): failure = ("streaming", refusal.reason)
                }
            }
            let now = services.clock.monotonic()
            let position = services.state.snapshot.stored?.lsn
            if position != reached {
                since = now
                reached = position
                backoff.reset()
            }
            if now &- since >= settings.startTimeout {
                throw AgentExit(
                    .unavailable, "the replay does not get on: \(failure.component)",
                    details: [
                        failure.reason, "tried for \(settings.startTimeout / .seconds(1)) s (limits.start_timeout)",
                    ],
                    hints: ["give the same command again: it goes on where it was"])
            }
            services.log.warning("the session ended, another follows", ["reason": .init(failure.reason)])
            wakeup.wait(milliseconds: Int(backoff.next(random: services.clock.random()) / 1_000_000))
        }
        guard let at = services.state.snapshot.stored?.lsn, at >= range.to else { return try stopped() }
    }

    private func stopped() throws(AgentExit) {
        guard services.stop.isRequested else { return }
        throw AgentExit(
            .different, "stopped before the end of the range",
            hints: ["give the same command again: it goes on where it was"])
    }

    /// Shows the progress while `body` runs.
    private func follow(_ range: ReplayRange, _ body: () throws(AgentExit) -> Void) throws(AgentExit) {
        let over = StopSignal()
        let reporter = ReplayReporter(range: range, output: output, services: services, over: over)
        let thread = WorkerThread(name: "progress") { reporter.run() }
        defer {
            over.request(deadline: 0)
            while !thread.join(milliseconds: 200) {}
        }
        try body()
    }

    // MARK: Telling

    private func announce(_ scope: ReplayScope, _ begun: StoredPosition?, _ dryRun: Bool) {
        let range = scope.range
        output.line(
            "replay \(scope.id): from \(range.from) to \(range.to), into topics \(scope.topicPrefix)*"
                + (dryRun ? " (a dry run: nothing is produced)" : ""))
        if range.from >= range.to {
            output.line("nothing was committed in this range")
        } else if let begun, begun.lsn >= range.to {
            output.line("it is complete; choose another --topic-prefix to have these rows once more")
        } else if let begun {
            output.line("it was begun before, and goes on at \(begun.lsn)")
        }
    }

    private func report(_ scope: ReplayScope, _ topics: [String: String], _ tally: ReplayTally?) {
        let snapshot = services.state.snapshot
        for (name, table) in snapshot.tables.sorted(by: { $0.key < $1.key }) {
            let topic = topics[name].map { " -> \($0)" } ?? ""
            output.line(
                "  \(name)\(topic): \(table.changes) rows (\(table[.create]) inserts, \(table[.update]) updates, \(table[.delete]) deletes, \(table[.truncate]) truncates)"
            )
        }
        if snapshot.messages > 0 { output.line("  \(snapshot.messages) logical messages") }
        if snapshot.deadLetters > 0 {
            output.line("  \(snapshot.deadLetters) rows that cannot be represented: dead letters")
        }
        let verb = tally == nil ? "published" : "would be published"
        output.line("\(snapshot.changedRows) rows of \(snapshot.transactions) transactions \(verb)")
        if let seen = tally?.seen {
            output.line(
                "first transaction: \(seen.first.commitLSN), \(ISOTime.text(microseconds: seen.first.commitTime))")
            output.line(
                "last transaction: \(seen.last.commitLSN), \(ISOTime.text(microseconds: seen.last.commitTime))")
        }
        if tally == nil { output.line("replay \(scope.id): complete") }
    }
}
