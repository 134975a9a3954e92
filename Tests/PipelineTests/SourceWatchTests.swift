import Testing

@testable import Pipeline

@Suite struct SourceWatchTests {
    /// The waits until the next look, where a question is the first to find the standby promoted.
    private func waits(onStandby: Bool, promotedAt question: Int = .max) -> [Int] {
        var waits: [Int] = []
        SourceWatch.rest(onStandby: { onStandby }, isOver: { waits.count >= question }, wait: { waits.append($0) })
        return waits
    }

    @Test func theLookAfterAPromotionComesSoon() {
        #expect(waits(onStandby: true, promotedAt: 1) == [500])
        #expect(waits(onStandby: true, promotedAt: 3) == [500, 500, 500])
    }

    /// Else nobody hears of a watch that is blind for ever (R5).
    @Test func looksThatGoOnFailingAreToldOfOnceAndSoIsTheirEnd() {
        var looks = FailedLooks()
        let told = stride(from: 0, through: 120, by: 5).map { looks.failed(at: .seconds($0)) }
        #expect(told.enumerated().filter { $0.element != nil }.map(\.offset) == [6] && told[6] == 30)
        #expect(looks.succeeded(at: .seconds(125)) == 125 && looks.succeeded(at: .seconds(130)) == nil)
        // The next ones are told of again.
        #expect(looks.failed(at: .seconds(200)) == nil && looks.failed(at: .seconds(235)) == 35)
    }

    @Test func aServerThatIsStartedAgainIsNotToldOf() {
        var looks = FailedLooks()
        for second in stride(from: 0, to: 30, by: 5) { #expect(looks.failed(at: .seconds(second)) == nil) }
        #expect(looks.succeeded(at: .seconds(30)) == nil)
        #expect(looks.failed(at: .seconds(35)) == nil && looks.failed(at: .seconds(60)) == nil)
    }

    @Test func withoutOneTheLooksAreAsFarApart() {
        #expect(waits(onStandby: false) == [5000])
        #expect(waits(onStandby: true).reduce(0, +) == 5000)
    }
}
