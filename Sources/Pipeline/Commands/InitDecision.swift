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
