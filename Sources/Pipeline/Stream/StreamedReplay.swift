import ChangeData
import ObjectStorage

/// The messages of one streamed transaction, after its commit, as protocol 1 would have sent them: Begin, what was not rolled
/// back, Commit. It gives them out one by one, so that the caller can look at other things in between.
struct StreamedReplay: ~Copyable {
    private enum Stage { case kept, first, behind, done }

    /// How far a step has got.
    enum Progress {
        /// `message` is the next one.
        case message
        /// Only what was rolled back was passed over: look at other things, and go on.
        case nothing
        /// The last message was given out.
        case over
    }

    /// Records passed over in one step.
    private static let mostPassed = 1000

    let commit: StreamCommit
    private let forgotten: Set<UInt32>
    private var reader: SpillReader
    private(set) var relations: RelationOrder
    private var stage = Stage.kept
    private var hasBegun = false
    /// Whether the message is none that was kept, and its bytes.
    private var isOwn = false
    private var own: [UInt8] = []
    private var outdated: [[UInt8]] = []

    /// The current message's LSN; 0/0 for those that a walsender gives none.
    private(set) var lsn = LSN(0)

    init(
        _ commit: StreamCommit, without forgotten: Set<UInt32>, reader: consuming SpillReader, relations: RelationOrder
    ) {
        self.commit = commit
        self.forgotten = forgotten
        self.reader = reader
        self.relations = relations
    }

    /// The current message.
    var message: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            isOwn ? own.span : reader.message
        }
    }

    /// Goes on to the next message.
    mutating func advance() throws(StorageError) -> Progress {
        isOwn = false
        switch stage {
        case .kept:
            var passed = 0
            while try reader.advance() {
                guard forgotten.contains(reader.part) else {
                    take()
                    return .message
                }
                passed += 1
                if passed == Self.mostPassed { return .nothing }
            }
            // As with protocol 1, a transaction without a change is none. (PostgreSQL 15 and later.)
            guard hasBegun else { return behind() }
            give(commit.commit, at: commit.endLSN)
            stage = .behind
        case .first:
            lsn = LSN(reader.place)
            stage = .kept
        case .behind: return behind()
        case .done: return .over
        }
        return .message
    }

    /// The message that the reader is at, with the Begin before the first change.
    private mutating func take() {
        let kind = reader.message[0]
        switch kind {
        case UInt8(ascii: "R"):
            // Out of `self` while the reader of it is looked at.
            var known = RelationOrder()
            swap(&known, &relations)
            known.applied(reader.message, arrival: reader.place)
            swap(&known, &relations)
            lsn = LSN(0)
        case UInt8(ascii: "Y"): lsn = LSN(0)
        default:
            lsn = LSN(reader.place)
            if !hasBegun {
                hasBegun = true
                give(commit.begin, at: commit.commitLSN)
                stage = .first
            }
        }
    }

    private mutating func behind() -> Progress {
        if stage != .done {
            outdated += relations.outdated()
            stage = .behind
        }
        guard let next = outdated.popLast() else {
            stage = .done
            return .over
        }
        give(next, at: LSN(0))
        return .message
    }

    private mutating func give(_ message: [UInt8], at lsn: LSN) {
        isOwn = true
        own = message
        self.lsn = lsn
    }
}
