/// Which definition of each table holds after a streamed transaction was published.
///
/// The server announces a table once to all that it sends whole, and once more in each streamed transaction. What is streamed
/// reaches the encoder at its commit, later than it came. The server takes as known what it announced last, in a message
/// of its own or in a transaction that was committed since: so an older definition that a transaction brings along holds
/// inside it and not behind it.
public struct RelationOrder: Sendable {
    private struct Known {
        var arrival: UInt64
        var message: [UInt8]
    }

    private var arrivals: UInt64 = 0
    private var newest: [UInt32: Known] = [:]
    private var stale: Set<UInt32> = []

    /// Nothing is announced yet.
    public init() {}

    /// Numbers a Relation message of a streamed transaction, in the order of arrival.
    public mutating func arrived() -> UInt64 {
        arrivals += 1
        return arrivals
    }

    /// A Relation message goes to the encoder: `arrival` is its number, or nil for one that has just come.
    public mutating func applied(_ message: Span<UInt8>, arrival number: UInt64? = nil) {
        guard message.count >= 5 else { return }
        let arrival = number ?? arrived()
        let relation = (1..<5).reduce(UInt32(0)) { $0 << 8 | UInt32(message[$1]) }
        guard arrival > newest[relation]?.arrival ?? 0 else {
            stale.insert(relation)
            return
        }
        stale.remove(relation)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(message.count)
        for index in message.indices { bytes.append(message[index]) }
        newest[relation] = Known(arrival: arrival, message: bytes)
    }

    /// The Relation messages to give to the encoder once more, now that the transaction is published.
    public mutating func outdated() -> [[UInt8]] {
        defer { stale.removeAll() }
        return stale.sorted().compactMap { newest[$0]?.message }
    }
}
