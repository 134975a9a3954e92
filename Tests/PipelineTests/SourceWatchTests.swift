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

    @Test func withoutOneTheLooksAreAsFarApart() {
        #expect(waits(onStandby: false) == [5000])
        #expect(waits(onStandby: true).reduce(0, +) == 5000)
    }
}
