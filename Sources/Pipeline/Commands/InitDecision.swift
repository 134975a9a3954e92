import ChangeData

/// What `init` makes of the position that it reads again, once whoever wrote it before can do so no more.
enum InitDecision {
    /// Whether what was decided on the position that was judged may be done on the one that is found now.
    static func mayGoOn(from judged: StoredPosition?, to found: StoredPosition?) -> Bool {
        switch (judged?.state, found?.state) {
        case (nil, nil): true
        // Nothing was ever streamed from its slot, which is made again: the `init` that wrote it is cut off now, if it was not before.
        case (nil, .creating), (.creating, .creating): true
        // However far an agent has come in it: what is noted is noted in what was found.
        case (.streaming, .streaming): judged?.epoch == found?.epoch && judged?.systemID == found?.systemID
        default: false
        }
    }
}

extension StoredPosition {
    /// The position with a loss that was accepted on record, in the epoch that begins after it. Its end is not known yet.
    ///
    /// One that is on record already is not noted again: an `init` that was cut off has done so, and nothing was streamed since.
    func noting(_ gap: StartRefusal, acceptedAt: Int64) -> StoredPosition {
        if let last = gaps.last, last.to == LSN(0), last.kind == gap.kind.rawValue, last.from == gap.stored {
            return self
        }
        var noted = self
        noted.epoch += 1
        noted.gaps.append(AcceptedGap(gap, epoch: noted.epoch, acceptedAt: acceptedAt))
        return noted
    }
}

extension StoredPosition.AcceptedGap {
    /// A loss that has not ended yet.
    init(_ gap: StartRefusal, epoch: UInt32, acceptedAt: Int64) {
        self.init(
            kind: gap.kind.rawValue, from: gap.stored ?? LSN(0), to: LSN(0), epoch: epoch, acceptedAt: acceptedAt)
    }
}
