import Pipeline
import Testing

@Suite struct SendSliceTests {
    private var slice = SendSlice(batch: 1000)

    @Test func aSliceOfOnePartitionIsOneBatch() {
        var slice = slice
        #expect(!slice.isFull(for: 0, of: 1, adding: 600, most: 10_000))
        slice.add(600, to: 0)
        #expect(!slice.isFull(for: 0, of: 1, adding: 400, most: 10_000))
        #expect(slice.isFull(for: 0, of: 1, adding: 401, most: 10_000))
        slice.reset()
        #expect(!slice.isFull(for: 0, of: 1, adding: 401, most: 10_000))
    }

    @Test func aRecordLargerThanABatchGoesAlone() {
        var slice = slice
        #expect(!slice.isFull(for: 0, of: 1, adding: 5000, most: 2000))
        slice.add(5000, to: 0)
        #expect(slice.isFull(for: 0, of: 1, adding: 1, most: 10_000))
    }

    @Test func topicsHaveBatchesOfTheirOwn() {
        var slice = slice
        slice.add(900, to: 3)
        #expect(!slice.isFull(for: 0, of: 1, adding: 900, most: 10_000))
        slice.add(900, to: 0)
        #expect(slice.isFull(for: 3, of: 1, adding: 200, most: 10_000))
    }

    @Test func aTopicOfSeveralPartitionsTakesMore() {
        var slice = slice
        slice.add(2900, to: 0)
        #expect(!slice.isFull(for: 0, of: 4, adding: 100, most: 10_000))
        #expect(slice.isFull(for: 0, of: 4, adding: 101, most: 10_000))
    }

    @Test func allTogetherStayBelowTheQueue() {
        var slice = slice
        for topic in 0..<5 { slice.add(400, to: topic) }
        #expect(!slice.isFull(for: 5, of: 1, adding: 400, most: 2400))
        #expect(slice.isFull(for: 5, of: 1, adding: 400, most: 2399))
    }
}
