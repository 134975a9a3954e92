import ChangeData

/// How many records of which table and kind are in the open transaction: counted without a lock, published at the commit.
struct OperationCounts {
    /// Kinds of records.
    static let kinds = Operation.allCases.count
    /// So many kinds a table, by the table's index.
    private(set) var byTable: [Int] = []
    /// The topic of each table, by the indices of both; -1 where it is not known.
    private(set) var topics: [Int] = []
    var messages = 0
    /// Commit times of the transactions, microseconds since 1970.
    private(set) var commitTimes: [Int64] = []

    mutating func count(_ record: RecordChunk.Record) {
        guard let table = record.table else {
            messages += 1
            return
        }
        let index = table * Self.kinds + Int(record.operation.rawValue)
        while byTable.count <= index { byTable.append(contentsOf: repeatElement(0, count: Self.kinds)) }
        byTable[index] += 1
        while topics.count <= table { topics.append(-1) }
        if record.operation != .deadLetter { topics[table] = record.topic }
    }

    mutating func passed(_ transaction: Transaction) { commitTimes.append(transaction.commitTime) }

    mutating func removeAll() {
        for index in byTable.indices { byTable[index] = 0 }
        messages = 0
        commitTimes.removeAll(keepingCapacity: true)
    }
}
