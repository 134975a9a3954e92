/// Hours, in few runs: what a partition's committed offset can carry. Where there would be more runs, the nearest ones become one: the
/// set then holds hours that were not put in, which are looked at in vain, and never lacks one that was.
package struct HourSet: Equatable, Sendable {
    /// Two numbers each, of up to seven digits in this millennium: 1.6 KB, beside a note of less than 1 KB. Brokers take 4 KB.
    package static let mostRuns = 100

    /// Apart from each other and in order, as numbers of hours (`SourceHour`).
    package private(set) var runs: [ClosedRange<Int64>] = []

    package init() {}
    package init(_ hours: some Sequence<SourceHour>) { for hour in hours { insert(hour) } }

    /// nil for numbers that are no hours of a commit time, or in another order than `bounds` gives them.
    package init?(bounds: [Int64]) {
        guard bounds.count % 2 == 0 else { return nil }
        for index in stride(from: 0, to: bounds.count, by: 2) {
            let (first, last) = (bounds[index], bounds[index + 1])
            guard Self.possible.contains(first), Self.possible.contains(last), first <= last,
                runs.last.map({ $0.upperBound < first }) ?? true
            else { return nil }
            insert(first...last)
        }
    }

    /// What microseconds in 64 bits reach.
    private static let possible = SourceHour(ofMicroseconds: .min).number...SourceHour(ofMicroseconds: .max).number

    package var isEmpty: Bool { runs.isEmpty }
    /// The first and the last hour of each run.
    package var bounds: [Int64] { runs.flatMap { [$0.lowerBound, $0.upperBound] } }

    package mutating func insert(_ hour: SourceHour) { insert(hour.number...hour.number) }
    package mutating func formUnion(_ other: HourSet) { for run in other.runs { insert(run) } }

    private mutating func insert(_ run: ClosedRange<Int64>) {
        // Those that touch it, which are neighbours.
        let first = runs.firstIndex { $0.upperBound >= run.lowerBound - 1 } ?? runs.count
        let end = runs[first...].firstIndex { $0.lowerBound > run.upperBound + 1 } ?? runs.count
        let touched = runs[first..<end]
        let low = min(run.lowerBound, touched.first?.lowerBound ?? run.lowerBound)
        let high = max(run.upperBound, touched.last?.upperBound ?? run.upperBound)
        runs.replaceSubrange(first..<end, with: [low...high])
        if runs.count > Self.mostRuns { joinNearest() }
    }

    private mutating func joinNearest() {
        let nearest = runs.indices.dropFirst().min { one, other in
            runs[one].lowerBound - runs[one - 1].upperBound < runs[other].lowerBound - runs[other - 1].upperBound
        }
        guard let nearest else { return }
        let joined = runs[nearest - 1].lowerBound...runs[nearest].upperBound
        runs.replaceSubrange((nearest - 1)...nearest, with: [joined])
    }

    /// Takes the latest hour out.
    package mutating func popLast() -> SourceHour? {
        guard let run = runs.popLast() else { return nil }
        if run.lowerBound < run.upperBound { runs.append(run.lowerBound...(run.upperBound - 1)) }
        return SourceHour(run.upperBound)
    }
}
