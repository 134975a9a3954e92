import ObjectStorage
import Testing

@Suite struct RetryPolicyTests {
    let policy = RetryPolicy(base: .milliseconds(100), cap: .seconds(2), maxAttempts: 8)

    @Test func growsToTheCap() {
        let full = (1...7).map { policy.delay(afterAttempt: $0, random: 1) }
        #expect(full == [100, 200, 400, 800, 1600, 2000, 2000].map { .milliseconds($0) })
        #expect(policy.delay(afterAttempt: 1, random: 0) == .milliseconds(50))
    }

    @Test func ends() {
        #expect(policy.delay(afterAttempt: 8, random: 0) == nil)
        #expect(RetryPolicy().delay(afterAttempt: .max, random: 1) == .seconds(20))
    }

    @Test func honoursRetryAfterWithinReason() {
        #expect(policy.delay(afterAttempt: 1, random: 0, retryAfter: .seconds(1)) == .seconds(1))
        #expect(policy.delay(afterAttempt: 1, random: 0, retryAfter: .seconds(3600)) == .seconds(6))
        #expect(policy.delay(afterAttempt: 5, random: 1, retryAfter: .milliseconds(1)) == .milliseconds(1600))
    }

    @Test(arguments: [-1.0, 2, .nan, .infinity]) func strangeChance(_ random: Double) {
        let delay = policy.delay(afterAttempt: 1, random: random)
        #expect(delay.map { $0 >= .milliseconds(50) && $0 <= .milliseconds(100) } == true)
    }

    @Test(arguments: [Int.min, -1, 0]) func strangeAttempts(_ attempt: Int) {
        #expect(policy.delay(afterAttempt: attempt, random: 1) == .milliseconds(100))
    }
}
