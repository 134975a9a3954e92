import ChangeData
import Threads

/// How far a replay is, for people and for scripts: pure text.
struct ReplayProgress: Equatable {
    let range: ReplayRange
    var at: LSN
    /// Rows of this run.
    var rows: UInt64
    /// Seconds that this run has lasted.
    var seconds: Double

    /// 0...100.
    var percent: Int {
        guard range.to > range.from else { return 100 }
        let whole = Double(range.to.rawValue - range.from.rawValue)
        let done = Double(min(max(at, range.from), range.to).rawValue - range.from.rawValue)
        return Int(done / whole * 100)
    }

    /// A line for a pipe.
    var line: String { "at \(at), \(percent) %, \(rows) rows" }

    /// A bar for a terminal.
    var bar: String {
        let width = 30
        let filled = width * percent / 100
        let rate = seconds > 1 ? ", \(Int(Double(rows) / seconds)) rows/s" : ""
        return "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
            + "] \(percent) %  \(at) of \(range.to), \(rows) rows\(rate)"
    }
}

/// Shows the progress from a thread of its own while the replay runs.
struct ReplayReporter {
    let range: ReplayRange
    let output: Output
    let services: StreamServices
    /// Raised when the replay is over.
    let over: StopSignal

    func run() {
        let wakeup = Wakeup()
        over.register(wakeup)
        defer { over.unregister(wakeup) }
        let started = services.clock.monotonic()
        while !over.isRequested {
            wakeup.wait(milliseconds: output.isTerminal ? 200 : 5000)
            let snapshot = services.state.snapshot
            let progress = ReplayProgress(
                range: range, at: snapshot.stored?.lsn ?? range.from, rows: snapshot.changedRows,
                seconds: Double(services.clock.monotonic() &- started) / 1e9)
            if output.isTerminal {
                output.overwrite(progress.bar)
            } else if !over.isRequested {
                output.line(progress.line)
            }
        }
        if output.isTerminal { output.line() }
    }
}

extension AgentState.Snapshot {
    /// Changes of rows and tables that were published: all records but tombstones and messages.
    var changedRows: UInt64 { tables.values.reduce(0) { $0 + $1.changes } }
}
