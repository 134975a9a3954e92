import Pipeline
import Testing

@Suite struct SendSliceTests {
    /// A slice of batches of 1,000 bytes that was given records: their bytes and topics.
    private func slice(_ given: (bytes: Int, topic: Int)...) -> SendSlice {
        var slice = SendSlice(batch: 1000)
        for record in given { slice.add(record.bytes, to: record.topic) }
        return slice
    }

    @Test func aSliceOfOnePartitionIsOneBatch() {
        #expect(!slice().isFull(for: 0, of: 1, adding: 600, most: 10_000))
        var slice = slice((600, 0))
        #expect(!slice.isFull(for: 0, of: 1, adding: 400, most: 10_000))
        #expect(slice.isFull(for: 0, of: 1, adding: 401, most: 10_000))
        slice.reset()
        #expect(!slice.isFull(for: 0, of: 1, adding: 401, most: 10_000))
    }

    @Test func aRecordLargerThanABatchGoesAlone() {
        #expect(!slice().isFull(for: 0, of: 1, adding: 5000, most: 2000))
        #expect(slice((5000, 0)).isFull(for: 0, of: 1, adding: 1, most: 10_000))
    }

    @Test func topicsHaveBatchesOfTheirOwn() {
        #expect(!slice((900, 3)).isFull(for: 0, of: 1, adding: 900, most: 10_000))
        #expect(slice((900, 3), (900, 0)).isFull(for: 3, of: 1, adding: 200, most: 10_000))
    }

    @Test func aTopicOfSeveralPartitionsTakesMore() {
        let slice = slice((2900, 0))
        #expect(!slice.isFull(for: 0, of: 4, adding: 100, most: 10_000))
        #expect(slice.isFull(for: 0, of: 4, adding: 101, most: 10_000))
    }

    @Test func allTogetherStayBelowTheQueue() {
        let slice = slice((400, 0), (400, 1), (400, 2), (400, 3), (400, 4))
        #expect(!slice.isFull(for: 5, of: 1, adding: 400, most: 2400))
        #expect(slice.isFull(for: 5, of: 1, adding: 400, most: 2399))
    }
}
