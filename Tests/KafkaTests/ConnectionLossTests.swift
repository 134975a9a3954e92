import Testing

@testable import Kafka

@Suite struct ConnectionLossTests {
    private let lost = "[thrd:a:1/1]: a:1/1: Disconnected (after 5012ms in state UP)"
    private let refused =
        "[thrd:a:1/1]: a:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)"
    private let other =
        "[thrd:TxnCoordinator]: TxnCoordinator: b:2: Connect to ipv4#127.0.0.1:2 failed: Connection refused (after 0ms in state TRY_CONNECT)"

    @Test func aBrokerThatStaysAwayIsLostOnce() {
        var losses = ConnectionLosses()
        losses.failed(lost)
        let once = losses.count
        losses.failed(refused)
        // librdkafka would not have said that it was lost a second time.
        #expect(once == 1 && losses.count == 2)
        for _ in 0..<100 { losses.failed(refused) }
        #expect(losses.count == 2)
        losses.failed(lost)
        #expect(losses.count == 3)
    }

    @Test func eachBrokerHasItsOwn() {
        var losses = ConnectionLosses()
        losses.failed(refused)
        losses.failed(other)
        losses.failed(refused)
        #expect(losses.count == 2)
    }
}
