/// When to close a Kafka transaction (C2): always between PostgreSQL transactions, at a target, before no more of it could be kept
/// for sending again, or as soon as nothing more is at hand and the least interval since the last commit has passed.
package struct BatchPolicy: Equatable, Sendable {
    /// Targets: reached, the batch is closed at the next boundary.
    package var rows: Int
    package var bytes: Int
    /// Least nanoseconds between two commits.
    package var interval: Int64
    /// Nanoseconds after the first record from which on it is closed at the next boundary, whatever is at hand: brokers that are slow
    /// would end the Kafka transaction else, again and again, however small the transactions in it.
    package var age: Int64
    /// Least nanoseconds between two commits that hold no row, only an idle position (C4).
    package var idleInterval: Int64

    package init(
        rows: Int, bytes: Int, interval: Int64, age: Int64 = .seconds(20), idleInterval: Int64 = .seconds(10)
    ) {
        self.rows = rows
        self.bytes = bytes
        self.interval = interval
        self.age = age
        self.idleInterval = idleInterval
    }

    /// What is in the open batch.
    package struct Batch: Equatable, Sendable {
        package var rows = 0
        package var bytes = 0
        package var transactions = 0
        /// Of these, what is of a PostgreSQL transaction that has not ended.
        package var openRows = 0
        package var openBytes = 0
        /// Monotonic nanoseconds of the first record.
        package var openedAt: Int64 = 0
        /// The bytes of the batch before.
        package var bytesBefore = 0
        /// Nanoseconds of the commit before.
        package var commitTook: Int64 = 0
        /// Whether there is no memory to keep more for sending again.
        package var isFull = false

        package init() {}
    }

    package enum Decision: Equatable, Sendable {
        case commit
        /// Go on with what is at hand.
        case more
        /// Nothing at hand: wait for more until then, and ask again.
        case wait(until: Int64)
    }

    /// A batch of so many bytes, and the next one, are part of a flow: rows come faster than it takes to commit them.
    package static let flow = 256 << 10
    /// The least time between two commits of a flow, nanoseconds, where `interval` is shorter. A commit costs the same for few rows
    /// as for many, here and at the brokers: at full speed, commits after each few milliseconds take a third of the CPU.
    package static let flowInterval: Int64 = .milliseconds(50)
    /// Over many partitions a commit takes longer, and there is less of a flow in each: the interval is so many times the last one.
    package static let flowFactor: Int64 = 5
    /// The longest interval of a flow, nanoseconds.
    package static let longestFlowInterval: Int64 = .seconds(1)

    /// Asked at each boundary between PostgreSQL transactions.
    /// - Parameters:
    ///   - lastCommit: monotonic nanoseconds of the last commit's begin.
    ///   - moreReady: whether another whole transaction is at hand already.
    package func atBoundary(_ batch: Batch, lastCommit: Int64, now: Int64, moreReady: Bool) -> Decision {
        if batch.rows >= rows || batch.bytes >= bytes || batch.isFull { return .commit }
        if moreReady { return batch.rows > 0 && now &- batch.openedAt >= age ? .commit : .more }
        var due = lastCommit &+ (batch.rows == 0 ? idleInterval : interval)
        if batch.rows > 0, max(batch.bytes, batch.bytesBefore) >= Self.flow {
            let least = min(Self.longestFlowInterval, batch.commitTook &* Self.flowFactor)
            due = max(due, lastCommit &+ max(Self.flowInterval, least))
        }
        return now >= due ? .commit : .wait(until: due)
    }
}
