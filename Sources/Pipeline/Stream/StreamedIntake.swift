import ChangeData
import ObjectStorage

/// Takes in the messages of a session with protocol 2: keeps those of transactions that go on, and gives them out when they are
/// committed, as protocol 1 would have sent them. What is behind it, the encoder first, sees no difference.
///
/// A session that ends throws all of it away: the server streams every open transaction again, from its start. That is also why
/// positions that are stored meanwhile are safe: a transaction's place is its commit, and that is behind all of them.
struct StreamedIntake: ~Copyable {
    private var transactions = StreamedTransactions()
    private var relations = RelationOrder()
    private var spill: TransactionSpill

    /// - Parameters:
    ///   - directory: for the files.
    ///   - limit: the most bytes that they may have together.
    init(in directory: String, limit: Int) throws(StreamingRefusal) {
        self.init(try Self.spill(in: directory, limit: limit))
    }

    private init(_ spill: consuming TransactionSpill) { self.spill = spill }

    private static func spill(in directory: String, limit: Int) throws(StreamingRefusal) -> TransactionSpill {
        do throws(SpillFailure) {
            return try TransactionSpill(in: directory, limit: limit)
        } catch { throw StreamingRefusal(error) }
    }

    /// What a message was.
    enum Taken: ~Copyable {
        /// The encoder's, at once.
        case direct
        /// Kept, or about what is kept; `isOver`: a block has ended, or what was kept is dropped.
        case kept(isOver: Bool)
        /// A transaction is committed: publish it, and call `published`, before the next message is taken.
        case committed(StreamedReplay)
    }

    enum Failure: Error {
        case data(ChangeDataError)
        case refused(StreamingRefusal)
    }

    /// Bytes on disk.
    var bytes: Int { spill.bytes }
    /// How many transactions are open.
    var openCount: Int { transactions.openCount }

    /// Takes one message.
    mutating func take(_ message: Span<UInt8>, at lsn: LSN) throws(Failure) -> Taken {
        let action: StreamAction
        do throws(ChangeDataError) { action = try transactions.accept(message, at: lsn) } catch { throw .data(error) }
        switch action {
        case .pass:
            if message[0] == UInt8(ascii: "R") { relations.applied(message) }
            return .direct
        case .origin(let transaction): throw .refused(.origin(transaction))
        case .forget(let transaction, _) where transactions.forgotten > StreamedTransactions.mostForgotten:
            throw .refused(.subtransactions(transaction))
        case .forget: return .kept(isOver: false)
        case .keep, .opened, .closed, .drop, .publish: break
        }
        do throws(SpillFailure) {
            return try keep(message, at: lsn, action)
        } catch { throw .refused(StreamingRefusal(error)) }
    }

    /// What the disk has to do with.
    private mutating func keep(
        _ message: Span<UInt8>, at lsn: LSN, _ action: StreamAction
    ) throws(SpillFailure) -> Taken {
        switch action {
        case .keep(_, let part):
            let isRelation = message[0] == UInt8(ascii: "R")
            try spill.append(message, part: part, place: isRelation ? relations.arrived() : lsn.rawValue)
        case .opened(let transaction): try spill.open(transaction)
        case .closed:
            try spill.close()
            return .kept(isOver: true)
        case .drop(let transaction):
            spill.drop(transaction)
            return .kept(isOver: true)
        case .publish(let commit, let parts):
            let reader = try spill.reader(of: commit.xid)
            defer { relations = RelationOrder() }
            return .committed(StreamedReplay(commit, without: parts, reader: reader, relations: relations))
        case .pass, .origin, .forget: break
        }
        return .kept(isOver: false)
    }

    /// The transaction's last message was taken by the encoder.
    mutating func published(_ transaction: UInt32, _ relations: RelationOrder) {
        self.relations = relations
        spill.drop(transaction)
    }
}
