/// The keys that a configuration may have: the one table behind reading, "allowed here", defaults and the reference.
package enum Schema {
    /// One key.
    package struct Key: Sendable {
        /// From the top, parts joined by dots.
        package let path: String
        /// What a value looks like; nil for a section of further keys.
        package let values: String?
        /// The default, written as in the file; nil where there is none, or where `defaultNote` says which.
        package let defaultText: String?
        /// The default in words, where it is not one text.
        package let defaultNote: String?
        /// What it does: one or two sentences.
        package let summary: String
        /// Whether the keys below it are the user's own.
        package let isOpen: Bool

        package var isSection: Bool { values == nil }
        /// The last part of the path.
        package var name: String { String(path.split(separator: ".").last ?? "") }
        /// The path of the section around it; empty at the top.
        package var parent: String { path.split(separator: ".").dropLast().joined(separator: ".") }
    }

    package static let keys: [Key] = general + postgres + kafka + events + s3 + limits + output

    package static let byPath: [String: Key] = Dictionary(keys.map { ($0.path, $0) }) { first, _ in first }

    /// The names of the keys in a section, in the order of the table.
    package static func names(in section: String) -> [String] {
        keys.filter { $0.parent == section }.map(\.name)
    }

    static func section(_ path: String, _ summary: String) -> Key {
        Key(path: path, values: nil, defaultText: nil, defaultNote: nil, summary: summary, isOpen: false)
    }

    static func key(
        _ path: String, _ values: String, default text: String? = nil, note: String? = nil, _ summary: String,
        isOpen: Bool = false
    ) -> Key {
        Key(path: path, values: values, defaultText: text, defaultNote: note, summary: summary, isOpen: isOpen)
    }

    static func key<Choice: CaseIterable & RawRepresentable<String>>(
        _ path: String, _: Choice.Type, default choice: Choice, _ summary: String
    ) -> Key {
        key(path, Choice.allCases.map(\.rawValue).joined(separator: " or "), default: choice.rawValue, summary)
    }
}
