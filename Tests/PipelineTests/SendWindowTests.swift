import Pipeline
import Testing

@Suite struct SendWindowTests {
    private let window = SendWindow(batch: 1000)

    private func step(
        adding size: Int, to partition: Int, of partitions: Int32 = 1, all: Int? = nil, most: Int = 100_000,
        isFollowed: Bool = true
    ) -> SendWindow.Step {
        window.step(
            adding: size, to: partition, of: partitions, all: all ?? partition, most: most, isFollowed: isFollowed)
    }

    @Test func theFirstRecordsOfATransactionAreLessThanABatch() {
        #expect(step(adding: 50, to: 700, isFollowed: false) == .give)
        #expect(step(adding: 51, to: 700, isFollowed: false) == .flush)
        #expect(step(adding: 51, to: 700, isFollowed: true) == .give)
    }

    @Test func thenOneBatchAndTheBeginningOfAnother() {
        #expect(step(adding: 10, to: 1240) == .give)
        #expect(step(adding: 11, to: 1240) == .listen)
    }

    @Test func severalPartitionsGetTwoBatchesEach() {
        #expect(step(adding: 100, to: 1900, of: 2) == .give)
        #expect(step(adding: 101, to: 1900, of: 2) == .listen)
    }

    @Test func severalLargeRecordsAreGivenAtOnce() {
        #expect(step(adding: 200, to: 1600) == .give)
        #expect(step(adding: 200, to: 1601) == .listen)
    }

    @Test func whatTheClientWouldNotSendByItselfIsFlushed() {
        #expect(step(adding: 1500, to: 600, of: 2) == .flush)
        #expect(step(adding: 1500, to: 1000, of: 2) == .listen)
    }

    @Test func aRecordLargerThanABatchGoesAlone() {
        for isFollowed in [false, true] {
            #expect(step(adding: 5000, to: 0, isFollowed: isFollowed) == .give)
            #expect(step(adding: 5000, to: 0, most: 2000, isFollowed: isFollowed) == .give)
            #expect(step(adding: 5000, to: 0, all: 100, isFollowed: isFollowed) == .give)
        }
    }

    @Test func allTogetherStayBelowTheQueue() {
        #expect(step(adding: 400, to: 0, all: 2000, most: 2400 + SendWindow.overhead) == .give)
        #expect(step(adding: 401, to: 0, all: 2000, most: 2400 + SendWindow.overhead) == .flush)
    }
}
