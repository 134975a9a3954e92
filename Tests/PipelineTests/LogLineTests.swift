import ObjectStorage
import Testing

@testable import Pipeline

/// What stands in the log, and how often.
@Suite struct LogLineTests {
    private let throttle = KafkaLineThrottle()

    private func suppressed(_ text: String, facility: String = "FAIL", at second: Int64) -> Int? {
        guard let throttle = throttle.throttle(of: facility, text) else { return 0 }
        return throttle.admit(at: second * 1_000_000)
    }

    @Test func aBrokerThatIsAwayIsOneLineAMinute() {
        func text(_ broker: Int, _ took: String) -> String {
            "[thrd:127.0.0.1:\(broker)/bootstrap]: 127.0.0.1:\(broker)/1: Connect to ipv4#127.0.0.1:\(broker) failed: "
                + "Connection refused (after \(took))"
        }
        #expect(suppressed(text(1, "0ms in state CONNECT"), at: 0) == 0)
        for second: Int64 in 1..<60 {
            #expect(
                suppressed(text(1, "\(second)ms in state CONNECT, 30 identical error(s) suppressed"), at: second) == nil
            )
        }
        // Another broker, or another failure of this one, is another line.
        #expect(suppressed(text(2, "0ms in state CONNECT"), at: 1) == 0)
        #expect(suppressed("[thrd:127.0.0.1:1/1]: 127.0.0.1:1/1: Disconnected (after 7ms in state UP)", at: 1) == 0)
        #expect(suppressed(text(1, "0ms in state CONNECT"), at: 60) == 59)
    }

    @Test func allElseIsWritten() {
        for _ in 0..<3 {
            #expect(suppressed("[thrd:main]: the same", facility: "MAXPOLL", at: 0) == 0)
            #expect(suppressed("[thrd:main]: the same", facility: "FENCED", at: 0) == 0)
        }
        for kind in 0..<1000 { #expect(suppressed("failure \(kind)", at: 0) == 0, "each is its own") }
    }

    @Test func aFailureOfTheSinkIsALine() {
        #expect(SinkFailure.retry(component: "s3", reason: "it is away").reason == "it is away")
        let store = SinkFailure.store(StorageError(.denied, "put", key: "k", code: "AccessDenied", "no"), "s3://lake")
        #expect(store.reason.hasPrefix("the store s3://lake cannot be used; ") && store.reason.contains("AccessDenied"))
        #expect(!store.reason.contains("AgentExit"))
    }

    @Test func aFullDiskHasItsNameInTheMetrics() throws {
        var failure: StorageError?
        do throws(StorageError) { _ = try SpoolFile(in: "/nonexistent/spool") } catch { failure = error }
        #expect(failure?.code == "ENOENT" && failure?.operation == "spool")
    }
}
