/// The head of a transaction, as its Begin says.
public struct TransactionHead: Equatable, Sendable {
    /// The transaction's number.
    public var xid: UInt32
    /// Where its commit record begins.
    public var commitLSN: LSN
    /// Its commit time, in microseconds since 1970.
    public var commitTime: Int64
}

/// What a message did.
public enum Step: Equatable, Sendable {
    /// Nothing that anyone must act on.
    case none
    /// A transaction began; its changes follow.
    case began(TransactionHead)
    /// A change was read: so many records were appended to the chunk, 0 where it is discarded, skipped or ignored.
    case changed(records: Int)
    /// A change was read of a table that is not written, the first one since `define` said to tell of them.
    case passedOver(TableName)
    /// A change was read that cannot be written as an event, for this reason: one record of it, for `deadLetterTopic`, was appended.
    case setAside(ChangeDataError)
    /// A transaction is whole. Its boundary is in the chunk unless it was discarded, being before the stored position.
    /// A message outside any transaction is one of its own, with xid 0.
    case committed(Transaction, discarded: Bool)
    /// The server announced a table, new, changed, or the same again (its primary key may have changed): look it up and
    /// call `define` before the next message.
    case describe(Relation)
}
