import Postgres
import Testing

@testable import Pipeline

/// Who holds the slot (C10). In a container a server counts its processes from small numbers, after each restart the same.
@Suite struct SlotHolderTests {
    private let ours = Walsender(pid: 42, startedAt: 1000)
    private let later = Walsender(pid: 42, startedAt: 2000)

    private func holder(_ walsender: Walsender?, ours: [Walsender]) -> StreamServices.SlotHolder {
        StreamServices.SlotHolder(walsender, ours: ours)
    }

    private func isRefused(_ holder: StreamServices.SlotHolder) -> Bool {
        do throws(SessionFailure) {
            try holder.requireUs()
            return false
        } catch { return true }
    }

    @Test func theSameProcessIsOurs() {
        #expect(holder(ours, ours: [ours]) == .us(ours))
        #expect(!isRefused(holder(ours, ours: [ours])))
        #expect(holder(nil, ours: [ours]) == .nobody)
        #expect(holder(ours, ours: []) == .other(42))
        #expect(holder(Walsender(pid: 43, startedAt: 1000), ours: [ours]) == .other(43))
    }

    /// Another agent's is neither ended as our own old one, nor does a zombie take it for its own.
    @Test func anotherProcessWithOurNumberIsNotOurs() {
        #expect(holder(later, ours: [ours]) == .other(42))
        #expect(isRefused(holder(later, ours: [ours])))
        #expect(!holder(later, ours: [ours]).isOurs)
    }

    @Test func whatOurRoleMayNotSeeIsOfAnotherRole() {
        #expect(holder(Walsender(pid: 42, startedAt: nil), ours: [ours]) == .other(42))
    }

    /// Where the role of the login sets another one, which sees nobody's.
    @Test func whereWeDoNotSeeOurOwnNothingIsProven() {
        let hidden = Walsender(pid: 42, startedAt: nil)
        #expect(holder(hidden, ours: [hidden]) == .perhapsUs(hidden))
        #expect(!isRefused(holder(hidden, ours: [hidden])))
        #expect(holder(later, ours: [hidden]) == .perhapsUs(later))
        #expect(holder(Walsender(pid: 43, startedAt: nil), ours: [hidden]) == .other(43))
    }

    /// The server may give the slot to one whose connection has failed after the next has asked for it.
    @Test func eachThatHasAskedIsRemembered() {
        let memory = SessionMemory()
        #expect(memory.walsenders.isEmpty)
        for pid in Int32(1)...20 { memory.asks(Walsender(pid: pid, startedAt: Int64(pid))) }
        #expect(memory.walsenders.map(\.pid) == Array(13...20))
        let older = Walsender(pid: 19, startedAt: 19)
        #expect(holder(older, ours: memory.walsenders) == .us(older))
    }
}
