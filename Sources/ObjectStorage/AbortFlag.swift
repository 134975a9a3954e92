import Synchronization

/// Ends transfers that run on other threads: raised once, at shutdown. A running request ends within about a second.
public final class AbortFlag: Sendable {
    private let raised = Atomic<Bool>(false)

    /// A flag that is not raised.
    public init() {}

    /// Whether transfers are to end.
    public var isRaised: Bool { raised.load(ordering: .acquiring) }

    /// Ends every transfer that was given this flag, and every later one. May be called from any thread.
    public func raise() { raised.store(true, ordering: .releasing) }
}
