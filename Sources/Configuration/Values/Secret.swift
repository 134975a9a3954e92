/// A value that must not be printed: a password, a key, a connection string that may hold one.
///
/// Printing, interpolating, dumping or reflecting it shows `<secret>`. The one way to the text is ``reveal()``, which is easy to search for.
public struct Secret: Sendable, Equatable {
    private let text: String

    /// Keeps `text` from being printed.
    public init(_ text: String) {
        self.text = text
    }

    /// The text itself, for the call that needs it and for nothing else.
    public func reveal() -> String { text }

    /// Whether there is no text at all.
    public var isEmpty: Bool { text.isEmpty }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Always `<secret>`.
    public var description: String { "<secret>" }
    /// Always `<secret>`.
    public var debugDescription: String { "<secret>" }
    /// No children, so that `dump` shows nothing either.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
