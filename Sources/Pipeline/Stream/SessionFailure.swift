import ChangeData

/// Why a session of the stream ended. The supervisor decides what follows.
enum SessionFailure: Error {
    /// The agent must end.
    case exit(AgentExit)
    /// The agent must end because of a transaction, by its commit LSN, that cannot be published. What is before it goes first.
    case unpublishable(AgentExit, LSN)
    /// Kafka clients cannot be made as they are configured: the agent must end, unless it has shown that they can. A file may be missing
    /// for a moment.
    case refused(AgentExit)
    /// Something that may be better on the next attempt: a new session, after a back-off.
    case retry(component: Component, reason: String)
    /// Another connection holds the slot.
    case slotInUse(holder: Int32?)
    /// Protocol 2 cannot be gone on with; `at`: up to where the server has decoded, at least.
    case fallBack(StreamingRefusal, at: LSN)
    /// A stop was asked for.
    case stopped

    /// Which side failed, for metrics.
    enum Component: String { case postgres, kafka }
}
