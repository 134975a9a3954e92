/// A value beside a message. Strings are escaped when they are written, so that no value can forge a line.
public enum LogValue: Sendable, Equatable {
    /// Text: a name, a topic, an LSN.
    case string(String)
    /// A count or a size.
    case integer(Int64)
    /// A measure.
    case double(Double)
    /// Yes or no.
    case bool(Bool)

    /// Any other value, by its description.
    public init(_ value: some CustomStringConvertible) { self = .string(value.description) }
    /// A count.
    public init(_ value: some BinaryInteger) { self = .integer(Int64(clamping: value)) }
    /// A span, in seconds.
    public init(_ value: Duration) {
        let (seconds, attoseconds) = value.components
        self = .double(Double(seconds) + Double(attoseconds) / 1e18)
    }
    /// Text.
    public init(_ value: String) { self = .string(value) }
    /// A measure.
    public init(_ value: Double) { self = .double(value) }
    /// Yes or no.
    public init(_ value: Bool) { self = .bool(value) }
}

extension LogValue: ExpressibleByStringInterpolation, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral
{
    /// Text.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A count.
    public init(integerLiteral value: Int64) { self = .integer(value) }
    /// A measure.
    public init(floatLiteral value: Double) { self = .double(value) }
    /// Yes or no.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
}
