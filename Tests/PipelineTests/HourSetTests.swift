import Kafka
import Testing

@testable import Pipeline

@Suite struct HourSetTests {
    private func set(_ hours: Int64...) -> HourSet { HourSet(hours.map { SourceHour($0) }) }

    @Test func hoursThatTouchAreOneRun() {
        #expect(set(5, 3, 9).runs == [3...3, 5...5, 9...9])
        #expect(set(5, 3, 9, 4).runs == [3...5, 9...9])
        #expect(set(3, 3, 2, 1).runs == [1...3])
        var joined = set(1, 10)
        joined.formUnion(HourSet(bounds: [2, 9, 20, 21]) ?? HourSet())
        #expect(joined.runs == [1...10, 20...21])
    }

    /// Of any hours, in any order, none is lacking, and none is there twice.
    @Test func itHoldsWhatWasPutIn() {
        var random = SystemRandomNumberGenerator()
        for range: Int64 in [20, 300, 1_000_000] {
            let hours = (0..<500).map { _ in Int64.random(in: -range...range, using: &random) }
            var set = HourSet(hours.map { SourceHour($0) })
            #expect(set.runs.count <= HourSet.mostRuns)
            #expect(hours.allSatisfy { hour in set.runs.contains { $0.contains(hour) } })
            #expect(zip(set.runs, set.runs.dropFirst()).allSatisfy { $0.upperBound + 1 < $1.lowerBound })
            #expect(HourSet(bounds: set.bounds) == set)
            guard range <= 300 else { continue }
            var taken: [Int64] = []
            while let hour = set.popLast() { taken.append(hour.number) }
            #expect(taken == taken.sorted(by: >) && Set(taken).isSuperset(of: hours))
            if range == 20 { #expect(Set(taken) == Set(hours)) }
        }
    }

    @Test func theNearestAreJoined() {
        let apart = HourSet((0...Int64(HourSet.mostRuns)).map { SourceHour($0 == 7 ? 602 : $0 * 100) })
        #expect(apart.runs.count == HourSet.mostRuns && apart.runs[6] == 600...602 && apart.runs[7] == 800...800)
    }

    @Test func whatIsNoSetOfHoursIsNone() {
        for bounds: [Int64] in [[1], [3, 2], [1, 5, 5, 6], [5, 6, 1, 2], [0, .max], [.min, 0]] {
            #expect(HourSet(bounds: bounds) == nil, "\(bounds)")
        }
        #expect(HourSet(bounds: []) == HourSet())
    }
}

/// What the session tells the sealer, and what of that the next worker is told.
@Suite struct HourBoardTests {
    private let board = HourBoard()
    private let one = TopicPartition("t", 0)
    private let two = TopicPartition("t", 1)
    private let hour = SourceHour(100)

    private var unsealed: [TopicPartition: HourSet] { board.unsealed(since: -1)?.hours ?? [:] }

    @Test func anHourIsUnsealedUntilAManifestNamesWhatWasPut() throws {
        board.stored(one, hour, now: 1)
        board.stored(two, hour, now: 2)
        board.stored(two, hour.next, now: 3)
        #expect(unsealed == [one: HourSet([hour]), two: HourSet([hour, hour.next])])
        let version = try #require(board.unsealed(since: -1)).version
        #expect(board.unsealed(since: version) == nil)
        let due = board.due(until: hour, now: 10, most: 9)
        #expect(due.map(\.late.hour) == [hour] && due.first?.at == 2)
        // While it is sealed another object comes.
        board.stored(one, hour, now: 11)
        board.settle(due[0].late, putAt: due[0].at)
        #expect(unsealed[one] == HourSet([hour]))
        board.settle(due[0].late, putAt: 11)
        #expect(unsealed == [two: HourSet([hour.next])])
    }

    @Test func whatIsLookedAtAgainStaysUnsealed() {
        board.stored(one, hour, now: 1)
        board.postpone(.init(topic: "t", hour: hour), until: 20)
        #expect(board.due(until: hour, now: 19, most: 9).isEmpty && unsealed == [one: HourSet([hour])])
        #expect(board.due(until: hour, now: 20, most: 9).count == 1)
        board.postpone(.init(topic: "t", hour: hour), until: 50)
        // Unless there is more to it.
        board.stored(two, hour, now: 21)
        #expect(board.due(until: hour, now: 22, most: 9).count == 1)
    }

    /// Hours of a former worker, more than are looked at at a time.
    @Test func whatWasTakenOverIsLookedAtPieceByPiece() {
        let hours = HourSet((0..<50).map { SourceHour($0) })
        board.takeOver(one, hours)
        #expect(unsealed == [one: hours])
        for left in stride(from: 50, to: 0, by: -10) {
            let due = board.due(until: hour, now: 5, most: 10)
            #expect(due.map(\.late.hour.number) == (left - 10..<left).map { Int64($0) }.reversed())
            #expect(unsealed[one]?.bounds == [0, Int64(left) - 1])
            for (late, at) in due { board.settle(late, putAt: at) }
        }
        #expect(unsealed.isEmpty && board.due(until: hour, now: 5, most: 10).isEmpty)
    }
}
