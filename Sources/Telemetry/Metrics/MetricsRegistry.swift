import Synchronization

/// All metrics of the process, by name and labels.
///
/// Asking for a metric takes a lock: keep the handle. Asking twice for the same gives the same handle. A name has one kind and one help
/// text; asking for it as another kind is a fault of the program, and stops it.
public final class MetricsRegistry: Sendable {
    enum Handle: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
        /// Read when scraped.
        case reading(@Sendable () -> Double?)
    }

    enum Kind: String, Sendable { case counter, gauge, histogram }

    struct Series: Sendable {
        let labels: [(String, String)]
        let handle: Handle
    }

    struct Family: Sendable {
        let name: String
        let help: String
        let kind: Kind
        var series: [Series] = []
        var index: [String: Int] = [:]
    }

    private struct State {
        var families: [Family] = []
        var index: [String: Int] = [:]
    }

    private let state = Mutex(State())

    /// An empty registry.
    public init() {}

    /// A counter. Its name ends in `_total`.
    public func counter(_ name: String, _ help: String, _ labels: KeyValuePairs<String, String> = [:]) -> Counter {
        guard case .counter(let counter) = handle(name, help, .counter, labels, make: { .counter(Counter()) }) else {
            wrongKind(name)
        }
        return counter
    }

    /// A gauge. Its name ends in a base unit: `_bytes`, `_seconds`.
    public func gauge(_ name: String, _ help: String, _ labels: KeyValuePairs<String, String> = [:]) -> Gauge {
        guard case .gauge(let gauge) = handle(name, help, .gauge, labels, make: { .gauge(Gauge()) }) else {
            wrongKind(name)
        }
        return gauge
    }

    /// A histogram with the given upper bounds.
    public func histogram(
        _ name: String, _ help: String, bounds: [Double] = Histogram.seconds,
        _ labels: KeyValuePairs<String, String> = [:]
    ) -> Histogram {
        guard
            case .histogram(let histogram) = handle(
                name, help, .histogram, labels, make: { .histogram(Histogram(bounds: bounds)) })
        else { wrongKind(name) }
        return histogram
    }

    /// A gauge that is read at each scrape, outside of any lock of the registry; nil leaves it out of that scrape.
    public func gauge(
        _ name: String, _ help: String, _ labels: KeyValuePairs<String, String> = [:],
        reading: @escaping @Sendable () -> Double?
    ) {
        _ = handle(name, help, .gauge, labels, make: { .reading(reading) })
    }

    /// A counter that somebody else keeps, read at each scrape.
    public func counter(
        _ name: String, _ help: String, _ labels: KeyValuePairs<String, String> = [:],
        reading: @escaping @Sendable () -> Double?
    ) {
        _ = handle(name, help, .counter, labels, make: { .reading(reading) })
    }

    private func wrongKind(_ name: String) -> Never {
        fatalError("the metric \(name) is already there as another kind")
    }

    private func handle(
        _ name: String, _ help: String, _ kind: Kind, _ labels: KeyValuePairs<String, String>, make: () -> Handle
    ) -> Handle {
        precondition(name.hasPrefix("sluice_") && Self.isName(name), "a metric's name is sluice_[a-z0-9_]")
        precondition(labels.allSatisfy { Self.isName($0.key) && $0.key != "le" }, "a label's name is [a-z0-9_]")
        let pairs = labels.map { ($0.key, $0.value) }.sorted { $0.0 < $1.0 }
        let key = pairs.map { "\($0.0)\u{0}\($0.1)\u{0}" }.joined()
        return state.withLock { state in
            let family: Int
            if let found = state.index[name] {
                guard state.families[found].kind == kind else { wrongKind(name) }
                family = found
            } else {
                family = state.families.count
                state.index[name] = family
                state.families.append(Family(name: name, help: help, kind: kind))
            }
            if let found = state.families[family].index[key] { return state.families[family].series[found].handle }
            let handle = make()
            state.families[family].index[key] = state.families[family].series.count
            state.families[family].series.append(Series(labels: pairs, handle: handle))
            return handle
        }
    }

    private static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, first > UInt8(ascii: "9") else { return false }
        return name.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
            default: false
            }
        }
    }

    /// All metrics in Prometheus's text format 0.0.4.
    public func prometheusText() -> String {
        let families = state.withLock { $0.families }
        var text = PrometheusText()
        for family in families { text.write(family) }
        return text.text
    }
}
