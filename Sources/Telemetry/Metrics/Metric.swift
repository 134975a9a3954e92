import Synchronization

/// A number that only grows. Adding is one atomic instruction.
public final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    /// A counter outside of any registry, for tests and for parts that are not measured.
    public init() {}

    /// Adds `amount`; a negative one is ignored, since a counter never falls.
    @inline(__always)
    public func add(_ amount: Int = 1) {
        guard amount > 0 else { return }
        count.wrappingAdd(UInt64(amount), ordering: .relaxed)
    }

    /// What it stands at.
    public var value: UInt64 { count.load(ordering: .relaxed) }
}

/// A number that rises and falls.
public final class Gauge: Sendable {
    private let bits = Atomic<UInt64>(0)

    /// A gauge outside of any registry.
    public init() {}

    /// Sets it.
    public func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }
    /// Sets it; exact up to 2^53.
    public func set(_ value: Int) { set(Double(value)) }
    /// Sets it to 1 or 0.
    public func set(_ value: Bool) { set(value ? 1.0 : 0.0) }

    /// Adds to it, also from several threads.
    public func add(_ amount: Double) {
        var old = bits.load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + amount).bitPattern
            let (exchanged, found) = bits.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if exchanged { return }
            old = found
        }
    }

    /// What it stands at.
    public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}

/// Counts observations in fixed buckets. Observing is a search among a few bounds and three atomic instructions.
public final class Histogram: Sendable {
    /// The upper bounds, rising; the last bucket has none.
    public let bounds: [Double]
    private let buckets: [Counter]
    private let total = Gauge()

    /// Bounds for times in seconds, from half a millisecond to a minute.
    public static let seconds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]
    /// Bounds for sizes in bytes, from 1 KiB to 1 GiB.
    public static let bytes: [Double] = (0...10).map { Double(1024 << ($0 * 2)) }

    /// A histogram outside of any registry. Bounds are sorted, and each is kept once.
    public init(bounds: [Double]) {
        self.bounds = Set(bounds.filter(\.isFinite)).sorted()
        buckets = (0...self.bounds.count).map { _ in Counter() }
    }

    /// Counts one value; not a number is ignored.
    public func observe(_ value: Double) {
        guard !value.isNaN else { return }
        var index = 0
        while index < bounds.count, value > bounds[index] { index += 1 }
        buckets[index].add(1)
        total.add(value)
    }

    /// Counts a time, in seconds.
    public func observe(_ value: Duration) {
        let (seconds, attoseconds) = value.components
        observe(Double(seconds) + Double(attoseconds) / 1e18)
    }

    /// How many values each bucket and all before it have, and the sum of all values. The count is the last of them.
    var snapshot: (cumulative: [UInt64], sum: Double) {
        var sum: UInt64 = 0
        let cumulative = buckets.map { bucket in
            sum += bucket.value
            return sum
        }
        return (cumulative, total.value)
    }

    /// How many values were observed.
    public var count: UInt64 { snapshot.cumulative.last ?? 0 }
}
