import Testing

@testable import Pipeline

@Suite struct BrokerSilenceTests {
    @Test func brokersAreAskedOnceInAMinuteOfQuiet() {
        var silence = BrokerSilence(now: .seconds(100))
        #expect(silence.action(now: .seconds(159)) == .none)
        #expect(silence.action(now: .seconds(160)) == .ask)
        silence.heard(now: .seconds(161))
        #expect(silence.action(now: .seconds(220)) == .none && silence.action(now: .seconds(221)) == .ask)
    }

    @Test func whoDoesNotAnswerIsAskedMoreOftenAndGivenUpInTheEnd() {
        var silence = BrokerSilence(now: 0)
        var asked: [Int64] = []
        var now: Int64 = 0
        while silence.action(now: now) != .giveUp {
            if silence.action(now: now) == .ask {
                asked.append(now / .seconds(1))
                silence.failed(now: now &+ .seconds(5))
            }
            now += .seconds(1)
        }
        #expect(asked.first == 60 && asked.dropFirst().first == 75 && now == .seconds(300))
        silence.heard(now: now)
        #expect(silence.action(now: now) == .none)
    }
}
