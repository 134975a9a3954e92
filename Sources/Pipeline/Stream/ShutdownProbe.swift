import ChangeData

/// When to look whether the server is shutting down: every five seconds while it waits for a confirmation of ours. And what a look says
/// that finds nobody.
struct ShutdownProbe: Equatable {
    /// How far the stream is. One that moves is no reason for a server to wait.
    struct Standing: Equatable {
        var received: LSN
        var durable: LSN
        /// Inside a transaction.
        var position: EventPosition?
    }

    private static let interval: Int64 = .seconds(5)
    /// So many looks in a row that find nobody are enough.
    private static let enough = 3
    private var last: Int64
    private var refusals = 0
    private var standing: Standing?

    init(now: Int64) { last = now }

    mutating func isDue(now: Int64, lags: Bool) -> Bool {
        guard lags else {
            last = now
            refusals = 0
            return false
        }
        guard now &- last >= Self.interval else { return false }
        last = now
        return true
    }

    /// The server answers.
    mutating func answered() { refusals = 0 }

    /// Nobody takes a new connection where ours was made. A server that shuts down takes it and says so; but a proxy, or a service of
    /// Kubernetes, in front of it does not lead to it any more. Answers whether it is to be let go: where nothing has moved meanwhile,
    /// nothing is lost with the connection.
    mutating func refused(at now: Standing) -> Bool {
        refusals = now == standing ? refusals + 1 : 1
        standing = now
        return refusals >= Self.enough
    }
}
