import ChangeData
import CLinux
import Configuration
import Dispatch
import Glibc
import Pipeline
import Telemetry

/// Reads the command line and the configuration, and runs the command.
enum Application {
    static let version = "0.1.0"

    /// Answers the process's exit status.
    static func run(arguments: [String]) -> Int32 {
        // A peer that closes its connection is an error of the call, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        OpenFiles.takeStandardOnes()
        giveWay()
        // Records are allocated by one thread and freed by another: with an arena for each thread, as glibc has it, the memory
        // that each once needed is never given back, and over many partitions the publisher takes twice the CPU in its own.
        mallopt(M_ARENA_MAX, 1)
        // Small blocks that are freed join their neighbours at once, and not all of them with each of the Kafka client's batches.
        mallopt(M_MXFAST, 0)
        mallopt(M_TRIM_THRESHOLD, 4 << 20)
        // Setting that bound has ended the growing of this one: each of the Kafka client's batches, of some 500 KiB, would be
        // mapped, faulted in and unmapped.
        mallopt(M_MMAP_THRESHOLD, 1 << 20)
        let status = ended(arguments)
        // What a script reads from a file that is cut off looks complete.
        guard let why = StandardOutput.failure else { return status }
        printError("sluice: standard output could not be written: \(why)")
        return status == AgentExit.Code.done.rawValue ? AgentExit.Code.software.rawValue : status
    }

    private static func ended(_ arguments: [String]) -> Int32 {
        do throws(UsageError) {
            let command = try CommandParser.parse(arguments)
            do throws(AgentExit) {
                try run(command)
                return AgentExit.Code.done.rawValue
            } catch {
                printError("sluice: \(error)")
                return error.code.rawValue
            }
        } catch {
            printError("\(error)")
            return AgentExit.Code.usage.rawValue
        }
    }

    /// Has the threads of this process wait for a processor until its turn comes, and not take it from the database or the
    /// broker each time that they wake: these do the larger part of the work, and their caches stay warm. A policy that the
    /// operator has chosen stays as it is. (sched(7): SCHED_BATCH needs no privilege; threads inherit it.)
    private static func giveWay() {
        guard sched_getscheduler(0) == SCHED_OTHER else { return }
        var parameters = sched_param()
        sched_setscheduler(0, sluice_sched_batch, &parameters)
    }

    private static func run(_ command: Command) throws(AgentExit) {
        switch command {
        case .help(let text): printOutput(text)
        case .version: printOutput("sluice \(version)")
        case .initialize(let config, let dryRun, let acceptGap):
            let configuration = try load(config, .stream)
            let settings = try Settings.stream(configuration)
            let services = services(configuration)
            let signals = handleSignals(configuration, services)
            defer { withExtendedLifetime(signals) {} }
            try InitCommand(settings: settings, services: services, output: output)
                .run(dryRun: dryRun, acceptGap: acceptGap)
        case .run(let config, let purpose):
            try RunCommand(try load(config, purpose), purpose: purpose).run()
        case .status(let config, let json): try StatusCommand.run(try load(config, .status), json: json)
        case .check(let config):
            try check(config)
        case .drop(let config, let dryRun):
            let (settings, services) = try stream(config)
            try DropCommand(settings: settings, clock: services.clock, output: output).run(dryRun: dryRun)
        case .verify(let config, let tables, let json):
            let configuration = try load(config, .given)
            let store = try Settings.store(configuration)
            try VerifyCommand(
                settings: Settings.stream(configuration), services: services(configuration),
                objects: store.map { ObjectReader(store: $0.location) },
                spool: .init(
                    directory: configuration.limits.spoolDirectory, bytes: configuration.limits.spool),
                output: output
            ).run(tables: Settings.tables(tables), json: json)
        case .hours(let config, let options):
            let configuration = try load(config, .sink)
            try HoursCommand(
                settings: try Settings.sink(configuration, streamsToo: false), clock: services(configuration).clock,
                output: output
            ).run(.init(topic: options.topic, hour: options.hour, last: options.last, json: options.json))
        case .replay(let config, let options): try replay(config, options)
        }
    }

    /// Where the store's keys are not for this host, whose half is the stream, all else is looked at.
    private static func check(_ config: String?) throws(AgentExit) {
        let configuration: Configuration
        var findings: [Finding] = []
        do throws(AgentExit) {
            configuration = try load(config, .given)
        } catch {
            configuration = try load(config, .stream)
            findings = [Finding(.problem, "store", error.message)]
        }
        let services = services(configuration)
        if findings.isEmpty, configuration.s3 != nil {
            findings = SinkPreflight(
                settings: try Settings.sink(configuration, streamsToo: true), services: services
            ).findings()
        }
        try CheckCommand(settings: try Settings.stream(configuration), services: services, output: output)
            .run(more: findings)
    }

    private static func replay(_ config: String?, _ options: Command.ReplayOptions) throws(AgentExit) {
        let configuration = try load(config, .stream)
        let services = services(configuration)
        let signals = handleSignals(configuration, services)
        defer { withExtendedLifetime(signals) {} }
        try ReplayCommand(
            settings: try Settings.stream(configuration), services: services, output: output
        ).run(
            ReplayRequest(
                from: bound(options.from), to: options.to.map(bound), topicPrefix: options.topicPrefix),
            dryRun: options.dryRun)
    }

    /// Of a command: a signal asks it to end in order. Keep the answer alive.
    private static func handleSignals(
        _ configuration: Configuration, _ services: StreamServices
    ) -> [any DispatchSourceSignal] {
        Signals.handle(
            stop: services.stop, timeout: configuration.limits.stopTimeout.inNanoseconds, clock: services.clock,
            told: {}, expired: { 128 + $0 })
    }

    private static func bound(_ bound: Command.ReplayOptions.Bound) -> ReplayRequest.Bound {
        switch bound {
        case .lsn(let lsn): .lsn(LSN(lsn))
        case .time(let time): .time(time)
        }
    }

    /// Loads the configuration, or says all that is wrong with it.
    static func load(_ path: String?, _ purpose: Configuration.Purpose) throws(AgentExit) -> Configuration {
        do throws(ConfigurationProblems) {
            return try Configuration.load(
                path: try Configuration.locate(path), environment: Environment.variables, purpose: purpose)
        } catch { throw AgentExit(.configuration, error.description) }
    }

    private static func stream(_ path: String?) throws(AgentExit) -> (StreamSettings, StreamServices) {
        let configuration = try load(path, .stream)
        let settings = try Settings.stream(configuration)
        return (settings, services(configuration))
    }

    private static func services(_ configuration: Configuration) -> StreamServices {
        StreamServices(
            clock: .system, log: Settings.logger(configuration, least: .warning), state: AgentState(),
            stop: StopSignal())
    }

    static let output = Output(isTerminal: isatty(1) == 1) { text in StandardOutput.write(text) }

    private static func printOutput(_ text: String) { StandardOutput.write(text + "\n") }

    private static func printError(_ text: String) { StandardError.write(text + "\n") }
}
