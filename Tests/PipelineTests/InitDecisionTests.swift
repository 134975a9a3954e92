import ChangeData
import Testing

@testable import Pipeline

@Suite struct InitDecisionTests {
    private let streaming = StoredPosition(
        systemID: "7", timeline: 1, slot: "sluice_t", epoch: 1, lsn: LSN(1000), options: "a", state: .streaming)
    private var creating: StoredPosition { changed { $0.state = .creating } }

    private func changed(_ change: (inout StoredPosition) -> Void) -> StoredPosition {
        var changed = streaming
        change(&changed)
        return changed
    }

    @Test func aSlotIsMadeOnlyWhereNothingWasEverStreamedFromIt() {
        #expect(InitDecision.mayGoOn(from: nil, to: nil))
        #expect(InitDecision.mayGoOn(from: nil, to: creating))
        #expect(InitDecision.mayGoOn(from: creating, to: creating))
        #expect(!InitDecision.mayGoOn(from: nil, to: streaming), "an agent may have gone on")
        #expect(!InitDecision.mayGoOn(from: creating, to: streaming))
        #expect(!InitDecision.mayGoOn(from: creating, to: nil), "the topic was deleted")
    }

    @Test func aStreamGoesOnHoweverFarItHasCome() {
        #expect(InitDecision.mayGoOn(from: streaming, to: changed { $0.lsn = LSN(9000) }))
        #expect(!InitDecision.mayGoOn(from: streaming, to: changed { $0.epoch = 2 }), "a gap was accepted meanwhile")
        #expect(!InitDecision.mayGoOn(from: streaming, to: changed { $0.systemID = "8" }))
        #expect(!InitDecision.mayGoOn(from: streaming, to: creating))
        #expect(!InitDecision.mayGoOn(from: streaming, to: nil))
    }

    @Test func aLossIsNotedOnceAndMovesNothing() {
        var split = streaming
        split.commitLSN = LSN(1200)
        split.ordinal = 7
        let gap = StartRefusal(.tableUnpublished, "lost", stored: LSN(1000), available: LSN(3000))
        let noted = split.noting(gap, acceptedAt: 5)
        var expected = split
        expected.epoch = 2
        expected.gaps = [.init(kind: "table-unpublished", from: LSN(1000), to: LSN(0), epoch: 2, acceptedAt: 5)]
        #expect(noted == expected)
        #expect(noted.noting(gap, acceptedAt: 9) == noted)
        let other = StartRefusal(.slotMissing, "lost", stored: LSN(1000), available: LSN(3000))
        #expect(noted.noting(other, acceptedAt: 9).gaps.map(\.kind) == ["table-unpublished", "slot-missing"])
        // Once the stream has gone on the same is a loss of its own.
        var ended = noted
        ended.gaps[0].to = LSN(3000)
        #expect(ended.noting(gap, acceptedAt: 9).epoch == 3)
    }
}
