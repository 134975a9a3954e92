/// Writes log lines: a constant message, and what varies as metadata beside it. No row data, no secrets.
///
/// A value that is passed around and shared between threads. A line below the level costs one comparison: its metadata is not built.
public struct Logger: Sendable {
    /// From the gravest on.
    public enum Level: String, Sendable, CaseIterable, Comparable {
        /// Something stopped, or will.
        case error
        /// Something is wrong, and sluice copes.
        case warning
        /// What an operator wants to know in a quiet week.
        case info
        /// What helps to find a fault.
        case debug

        private var rank: Int {
            switch self {
            case .error: 0
            case .warning: 1
            case .info: 2
            case .debug: 3
            }
        }

        /// Less is graver.
        public static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }
    }

    /// How a line looks.
    public enum Format: Sendable, Equatable {
        /// `2026-11-25T19:40:00.123Z INFO  message key=value`, in colour if asked.
        case text(isColoured: Bool)
        /// One JSON object a line: `ts`, `level`, `message`, then the metadata.
        case json
    }

    /// The least grave level that is written.
    public let level: Level
    private let format: Format
    private let sink: LogSink
    private let now: @Sendable () -> Int64
    private let bound: [(String, LogValue)]

    /// - Parameters:
    ///   - level: the least grave level that is written.
    ///   - format: text or JSON.
    ///   - sink: takes whole lines.
    ///   - now: microseconds since 1970, UTC.
    public init(level: Level, format: Format, sink: LogSink, now: @escaping @Sendable () -> Int64) {
        self.init(level: level, format: format, sink: sink, now: now, bound: [])
    }

    private init(
        level: Level, format: Format, sink: LogSink, now: @escaping @Sendable () -> Int64, bound: [(String, LogValue)]
    ) {
        self.level = level
        self.format = format
        self.sink = sink
        self.now = now
        self.bound = bound
    }

    /// Writes nothing, whatever it is told.
    public static let silent = Logger(level: .error, format: .json, sink: LogSink { _ in }, now: { 0 })

    /// A logger that adds these to every line: the topic or slot that a part works for.
    public func with(_ metadata: KeyValuePairs<String, LogValue>) -> Logger {
        Logger(level: level, format: format, sink: sink, now: now, bound: bound + metadata.map { ($0.key, $0.value) })
    }

    /// Whether a line of this level is written.
    public func isEnabled(_ level: Level) -> Bool { level <= self.level }

    /// Writes one line, unless its level is not wanted.
    public func log(
        _ level: Level, _ message: StaticString, _ metadata: @autoclosure () -> KeyValuePairs<String, LogValue> = [:]
    ) {
        guard isEnabled(level) else { return }
        write(level, message, metadata().map { ($0.key, $0.value) })
    }

    /// Writes one line, unless the throttle has let one through a short while ago; the next one says how many it held back.
    public func log(
        _ level: Level, _ message: StaticString, throttle: LogThrottle,
        _ metadata: @autoclosure () -> KeyValuePairs<String, LogValue> = [:]
    ) {
        guard isEnabled(level), let suppressed = throttle.admit(at: now()) else { return }
        var pairs = metadata().map { ($0.key, $0.value) }
        if suppressed > 0 { pairs.append(("suppressed", .integer(Int64(clamping: suppressed)))) }
        write(level, message, pairs)
    }

    /// ``log(_:_:_:)`` at `error`.
    public func error(_ message: StaticString, _ metadata: @autoclosure () -> KeyValuePairs<String, LogValue> = [:]) {
        log(.error, message, metadata())
    }

    /// ``log(_:_:_:)`` at `warning`.
    public func warning(_ message: StaticString, _ metadata: @autoclosure () -> KeyValuePairs<String, LogValue> = [:]) {
        log(.warning, message, metadata())
    }

    /// ``log(_:_:_:)`` at `info`.
    public func info(_ message: StaticString, _ metadata: @autoclosure () -> KeyValuePairs<String, LogValue> = [:]) {
        log(.info, message, metadata())
    }

    /// ``log(_:_:_:)`` at `debug`.
    public func debug(_ message: StaticString, _ metadata: @autoclosure () -> KeyValuePairs<String, LogValue> = [:]) {
        log(.debug, message, metadata())
    }

    private func write(_ level: Level, _ message: StaticString, _ metadata: [(String, LogValue)]) {
        let line = LogLine(time: now(), level: level, message: message.description, metadata: bound + metadata)
        switch format {
        case .text(let isColoured): sink.write(line.text(isColoured: isColoured))
        case .json: sink.write(line.json())
        }
    }
}
