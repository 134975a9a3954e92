import ChangeData
import Synchronization

/// The first and the last transaction that a dry run has seen.
final class ReplayTally: Sendable {
    private let ends = Mutex<(first: Transaction, last: Transaction)?>(nil)

    var seen: (first: Transaction, last: Transaction)? { ends.withLock { $0 } }

    func add(_ transaction: Transaction) {
        ends.withLock { ends in ends = (ends?.first ?? transaction, transaction) }
    }
}

/// Stands in for the publisher in a dry run: counts what the source has encoded, and lets it go.
struct ReplayCounter {
    let link: StreamLink
    let services: StreamServices
    let tally: ReplayTally
    var position: StoredPosition

    mutating func run() throws(SessionFailure) {
        while true {
            switch link.queue.pop() {
            case .chunk(let chunk): count(chunk)
            case .closed: return
            case .empty:
                guard !link.isAborted else { throw .stopped }
                if let end = link.takeIdle() {
                    passed(upTo: end.lsn)
                } else {
                    link.queue.filled.wait(milliseconds: 500)
                }
            }
        }
    }

    private mutating func count(_ chunk: RecordChunk) {
        var counts = OperationCounts()
        for record in chunk.records { counts.count(record) }
        for boundary in chunk.boundaries {
            counts.passed(boundary.transaction)
            tally.add(boundary.transaction)
            position.lsn = max(position.lsn, boundary.transaction.endLSN)
        }
        services.state.committed(
            AgentState.Commit(
                position: position, rows: chunk.recordCount, bytes: chunk.byteCount, counts: counts,
                tables: link.names.tables, topics: link.names.topics, seconds: 0, now: services.clock.wall()))
        let bytes = chunk.capacity
        chunk.removeAll()
        link.queue.recycle(chunk, bytes: bytes)
        link.committed(upTo: position.lsn)
    }

    private mutating func passed(upTo end: LSN) {
        position.lsn = max(position.lsn, end)
        services.state.update { $0.stored = position }
        link.committed(upTo: position.lsn)
    }
}
