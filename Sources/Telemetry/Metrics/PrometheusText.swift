/// Prometheus's text exposition format, version 0.0.4.
/// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
struct PrometheusText {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private(set) var text = ""

    mutating func write(_ family: MetricsRegistry.Family) {
        text += "# HELP \(family.name) \(Self.escaped(family.help, quotes: false))\n"
        text += "# TYPE \(family.name) \(family.kind.rawValue)\n"
        for series in family.series {
            switch series.handle {
            case .counter(let counter): sample(family.name, series.labels, "\(counter.value)")
            case .gauge(let gauge): sample(family.name, series.labels, Self.number(gauge.value))
            case .reading(let read):
                if let value = read() { sample(family.name, series.labels, Self.number(value)) }
            case .histogram(let histogram): write(histogram, family.name, series.labels)
            }
        }
    }

    private mutating func write(_ histogram: Histogram, _ name: String, _ labels: [(String, String)]) {
        let (cumulative, sum) = histogram.snapshot
        for (bound, count) in zip(histogram.bounds.map(Self.number) + ["+Inf"], cumulative) {
            sample(name + "_bucket", labels + [("le", bound)], "\(count)")
        }
        sample(name + "_sum", labels, Self.number(sum))
        sample(name + "_count", labels, "\(cumulative.last ?? 0)")
    }

    private mutating func sample(_ name: String, _ labels: [(String, String)], _ value: String) {
        text += name
        if !labels.isEmpty {
            text += "{" + labels.map { "\($0.0)=\"\(Self.escaped($0.1, quotes: true))\"" }.joined(separator: ",") + "}"
        }
        text += " \(value)\n"
    }

    /// Whole numbers without a fraction, up to where a double counts exactly.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value), whole.magnitude <= 1 << 53 { return "\(whole)" }
        return "\(value)"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
