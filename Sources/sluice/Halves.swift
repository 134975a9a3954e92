import Pipeline
import Synchronization
import Threads

/// The stream and the sink of one process, each on threads of its own.
struct Halves {
    var stream: (@Sendable () -> AgentExit?)?
    var watch: (@Sendable () -> Void)?
    var sink: (@Sendable () -> AgentExit?)?

    private final class Result: Sendable {
        let exit = Mutex<AgentExit?>(nil)
    }

    /// Beside a stream, a sink whose servers are away at start goes on trying: nobody would start it again.
    private static func attempts(
        of body: () -> AgentExit?, isAlone: Bool, _ services: StreamServices
    ) -> AgentExit? {
        let wakeup = Wakeup()
        services.stop.register(wakeup)
        defer { services.stop.unregister(wakeup) }
        while true {
            guard let exit = body() else { return nil }
            guard !isAlone, exit.code == .unavailable, !services.stop.isRequested else { return exit }
            services.state.update { $0.sinkError = exit.message }
            services.log.error("the sink cannot start, and tries again", ["error": .init(exit), "pause_s": 30])
            wakeup.wait(milliseconds: 30_000)
        }
    }

    /// Runs them until a stop. An end of the stream ends the process; a fatal error of the sink stops the sink only, and is
    /// the process's exit where there is no stream.
    func run(_ services: StreamServices) -> AgentExit? {
        let result = Result()
        let watcher = watch.map { WorkerThread(name: "watch", $0) }
        let sinkThread = sink.map { body in
            WorkerThread(name: "sink") { [isAlone = stream == nil] in
                guard let exit = Self.attempts(of: body, isAlone: isAlone, services) else { return }
                services.state.update { $0.sinkError = exit.message }
                services.log.error("the sink has stopped", ["error": .init(exit)])
                if isAlone {
                    result.exit.withLock { $0 = exit }
                    services.stop.request(deadline: services.clock.monotonic())
                }
            }
        }
        if let stream {
            let exit = stream()
            result.exit.withLock { $0 = exit }
            // The sink writes what it has within the time of a stop.
            if exit != nil { services.stop.request(deadline: services.clock.monotonic() &+ .seconds(5)) }
        }
        for thread in [sinkThread, watcher].compactMap({ $0 }) {
            while !thread.join(milliseconds: 200) {
                if let deadline = services.stop.deadline, services.clock.monotonic() >= deadline { break }
            }
        }
        // A stop may come, and its time be up, before a sink that has failed has let go of all.
        return result.exit.withLock { $0 } ?? (stream == nil ? services.state.snapshot.sinkExit : nil)
    }
}
