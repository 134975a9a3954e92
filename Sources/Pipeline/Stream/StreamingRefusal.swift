import ObjectStorage

/// Why a session cannot go on with protocol 2. Nothing is lost: the next one uses protocol 1, with which the server keeps what is
/// not committed.
struct StreamingRefusal: Error, Equatable {
    /// For metrics, and for how long it holds.
    enum Kind: String {
        /// The open transactions need more than their share of `limits.spool`.
        case spool
        /// The disk does not take them, or does not give them back.
        case disk
        /// Too many subtransactions were rolled back to remember them all.
        case subtransactions
        /// A transaction came from another server, or may have.
        case origin
    }

    var kind: Kind
    var reason: String
    /// The transaction that it was met in; nil where there was none yet.
    var transaction: UInt32?

    init(_ kind: Kind, _ reason: String, transaction: UInt32?) {
        self.kind = kind
        self.reason = reason
        self.transaction = transaction
    }

    init(_ failure: SpillFailure, transaction: UInt32? = nil) {
        switch failure {
        case .full(let transaction, let limit):
            self.init(
                .spool, "the open transactions need more than \(limit) bytes of local disk (limits.spool)",
                transaction: transaction)
        case .disk(let error): self.init(.disk, error.description, transaction: transaction)
        }
    }

    static func subtransactions(_ transaction: UInt32) -> StreamingRefusal {
        StreamingRefusal(
            .subtransactions, "more subtransactions were rolled back than can be remembered", transaction: transaction)
    }

    static func origin(_ transaction: UInt32) -> StreamingRefusal {
        StreamingRefusal(
            .origin, "there are replication origins, and only protocol 1 says where a transaction was committed first",
            transaction: transaction)
    }
}
