import Synchronization

/// What an observer beside the stream has seen that must end it: raised once, looked at by the stream's own loop.
package final class Alarm: Sendable {
    private let content = Mutex<AgentExit?>(nil)

    package init() {}

    /// Why the agent must end; nil while all is well.
    package var raised: AgentExit? { content.withLock { $0 } }

    /// The first one stays.
    package func raise(_ exit: AgentExit) {
        content.withLock { if $0 == nil { $0 = exit } }
    }
}
