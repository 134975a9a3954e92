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
}
