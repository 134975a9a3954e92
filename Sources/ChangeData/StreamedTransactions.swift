/// What becomes of a message of protocol 2.
public enum StreamAction: Equatable, Sendable {
    /// It is not of a streamed transaction: the encoder's, at once.
    case pass
    /// To be kept for the streamed transaction, without its bytes 1 to 4, which number the part that it is of: the
    /// transaction itself, or a subtransaction.
    case keep(transaction: UInt32, part: UInt32)
    /// The transaction came from another server. Protocol 2 does not say where it was committed there, as protocol 1 does.
    case origin(transaction: UInt32)
    /// A block of the transaction begins.
    case opened(transaction: UInt32)
    /// The block is over.
    case closed(transaction: UInt32)
    /// A part was rolled back: what was kept of it counts for nothing.
    case forget(transaction: UInt32, part: UInt32)
    /// The transaction was rolled back: nothing of it counts.
    case drop(transaction: UInt32)
    /// The transaction is committed: what was kept of it goes to the encoder, between the commit's `begin` and `commit`, but
    /// for the parts that were rolled back.
    case publish(StreamCommit, without: Set<UInt32>)
}

/// Tells apart what a server sends with protocol 2: whole transactions, as with protocol 1, and between them blocks of
/// transactions that go on. Pure: bytes in, decisions out; one is made for each session.
///
///     S(1) ... E   S(2) ... E   B ... C   A(1, 5)   S(1) ... E   c(1)   A(2, 2)
///
/// Blocks never nest. The server streams a transaction from its first change to its last: what it says of one that began
/// otherwise, or was never begun, is refused, as a row would be missing.
public struct StreamedTransactions: Sendable {
    /// The most subtransactions rolled back that are remembered over all open transactions: 5 MB of memory.
    public static let mostForgotten = 700_000

    private var block: UInt32?
    /// The parts rolled back of each open transaction.
    private var open: [UInt32: Set<UInt32>] = [:]
    /// How many they are.
    private(set) public var forgotten = 0

    /// No transaction is open yet.
    public init() {}

    /// How many streamed transactions are open.
    public var openCount: Int { open.count }

    /// Whether a block is open.
    public var isInBlock: Bool { block != nil }

    /// Takes in one message.
    /// - Parameters:
    ///   - message: the bytes of the XLogData frame's payload.
    ///   - lsn: the frame's dataStart.
    /// - Throws: `malformed` and `unexpected`.
    public mutating func accept(
        _ message: Span<UInt8>, at lsn: LSN
    ) throws(ChangeDataError) -> StreamAction {
        guard !message.isEmpty else {
            throw .malformed(Malformation(message: 0, offset: 0, reason: .tooShort), at: lsn)
        }
        let kind = message[0]
        if let block { return try inside(block, kind, message, at: lsn) }
        switch kind {
        case UInt8(ascii: "S"):
            let start = try parse(message, at: lsn, StreamStartMessage.init)
            guard start.isFirst == (open[start.xid] == nil) else {
                let why = start.isFirst ? "the transaction has begun already" : "its first block has not come"
                throw .unexpected(message: kind, why: why, at: lsn)
            }
            if start.isFirst { open[start.xid] = [] }
            block = start.xid
            return .opened(transaction: start.xid)
        case UInt8(ascii: "A"):
            return abort(try parse(message, at: lsn, StreamAbortMessage.init))
        case UInt8(ascii: "c"):
            let commit = try parse(message, at: lsn, StreamCommit.init)
            guard let parts = open.removeValue(forKey: commit.xid) else {
                throw .unexpected(message: kind, why: "nothing of the transaction has come", at: lsn)
            }
            forgotten -= parts.count
            return .publish(commit, without: parts)
        case UInt8(ascii: "E"):
            throw .unexpected(message: kind, why: "no block is open", at: lsn)
        default:
            return .pass
        }
    }

    private mutating func inside(
        _ transaction: UInt32, _ kind: UInt8, _ message: Span<UInt8>, at lsn: LSN
    ) throws(ChangeDataError) -> StreamAction {
        switch kind {
        case UInt8(ascii: "I"), UInt8(ascii: "U"), UInt8(ascii: "D"), UInt8(ascii: "T"), UInt8(ascii: "R"),
            UInt8(ascii: "Y"), UInt8(ascii: "M"):
            let part = try parse(message, at: lsn) { (reader) throws(Malformation) in
                let part = try reader.uint32()
                // The rest is read when the transaction is committed: until then it has one byte at least.
                guard reader.offset < message.count else { throw reader.fault(.tooShort) }
                return part
            }
            return .keep(transaction: transaction, part: part)
        case UInt8(ascii: "E"):
            _ = try parse(message, at: lsn, StreamStopMessage.init)
            block = nil
            return .closed(transaction: transaction)
        case UInt8(ascii: "O"):
            _ = try parse(message, at: lsn, OriginMessage.init)
            return .origin(transaction: transaction)
        default:
            throw .unexpected(message: kind, why: "inside a block of a streamed transaction", at: lsn)
        }
    }

    /// A transaction of which nothing came has nothing to lose.
    private mutating func abort(_ message: StreamAbortMessage) -> StreamAction {
        guard message.part != message.xid else {
            forgotten -= open.removeValue(forKey: message.xid)?.count ?? 0
            return .drop(transaction: message.xid)
        }
        if open[message.xid]?.insert(message.part).inserted == true { forgotten += 1 }
        return .forget(transaction: message.xid, part: message.part)
    }
}
