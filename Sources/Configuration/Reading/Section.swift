/// One mapping of the file while it is read: knows its keys, their places and their defaults, and reports what is wrong with them.
///
/// Every reader returns a value even after a problem (some value of the type): all problems are gathered before any is thrown.
struct Section {
    let context: ReadingContext
    let path: String
    private let entries: [String: YAMLEntry]

    /// Reads the keys of `node`; nil for a section that the file leaves out. `open`: the keys are the user's own.
    init(_ node: YAMLNode?, path: String, context: ReadingContext, open: Bool = false) {
        self.context = context
        self.path = path
        // A section whose keys are all commented out says: the defaults.
        guard let node, !node.isNull || path.isEmpty else {
            entries = [:]
            return
        }
        guard case .mapping(let list) = node.content else {
            entries = [:]
            let what = node.isNull ? "empty" : node.kind
            let keys = open ? "" : "; allowed here: \(Schema.names(in: path).joined(separator: ", "))"
            context.report(path, at: node.location, "must be a section of keys, is \(what)\(keys)")
            return
        }
        var entries: [String: YAMLEntry] = [:]
        let allowed = Schema.names(in: path)
        for entry in list {
            let keyPath = path.isEmpty ? entry.key : "\(path).\(entry.key)"
            if let first = entries[entry.key] {
                context.report(keyPath, at: entry.keyLocation, "given twice; first on line \(first.keyLocation.line)")
            } else if !open && !allowed.contains(entry.key) {
                context.report(
                    keyPath, at: entry.keyLocation, Spelling.unknownKey(entry.key, in: path, allowed: allowed))
            } else {
                entries[entry.key] = entry
                context.source.locations[keyPath] = entry.keyLocation
            }
        }
        self.entries = entries
    }

    /// The keys that are there, in the order of the file.
    var keys: [String] {
        entries.values.sorted {
            ($0.keyLocation.line, $0.keyLocation.column) < ($1.keyLocation.line, $1.keyLocation.column)
        }.map(\.key)
    }

    func has(_ key: String) -> Bool { entries[key] != nil }

    func keyPath(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    func section(_ key: String, open: Bool = false) -> Section {
        Section(entries[key]?.value, path: keyPath(key), context: context, open: open)
    }

    func report(_ key: String, _ message: String) {
        context.report(
            keyPath(key), at: entries[key]?.value.location ?? context.source.location(of: keyPath(key)), message)
    }

    /// A single value with its variables filled in, as written (to be shown) and as meant.
    struct Scalar {
        let text: String
        /// What the file says: a variable is shown by its name, never by its value.
        let shown: String
    }

    /// The value of `key`, else its default, else nil.
    func scalar(_ key: String) -> Scalar? {
        if let node = entries[key]?.value { return scalar(node, key) }
        guard let text = Schema.byPath[keyPath(key)]?.defaultText else { return nil }
        return Scalar(text: text, shown: text)
    }

    private func scalar(_ node: YAMLNode, _ key: String) -> Scalar? {
        let keyPath = keyPath(key)
        guard case .scalar(let text, _) = node.content else {
            context.report(keyPath, at: node.location, "must be a single value, is \(node.kind)\(hint(key))")
            return nil
        }
        guard !node.isNull else {
            let note = Schema.byPath[keyPath].map { $0.defaultText ?? $0.defaultNote ?? "" } ?? ""
            let remedy = note.isEmpty || note == "required" ? "" : "; leave the line out for the default (\(note))"
            context.report(keyPath, at: node.location, "has no value\(remedy)\(hint(key))")
            return nil
        }
        do throws(Interpolation.Failure) {
            return Scalar(text: try Interpolation.expand(text, context.environment), shown: text)
        } catch {
            context.report(keyPath, at: node.location, error.message)
            return nil
        }
    }

    /// One value, a list of values, or one value with commas.
    func list(_ key: String, commas: Bool) -> [Scalar] {
        guard let node = entries[key]?.value else { return [] }
        let nodes: [YAMLNode]
        if case .sequence(let items) = node.content { nodes = items } else { nodes = [node] }
        return nodes.compactMap { scalar($0, key) }.flatMap { scalar in
            guard commas else { return [scalar] }
            return scalar.text.split(separator: ",", omittingEmptySubsequences: false).map {
                Scalar(text: String($0.trimmingBlanks()), shown: scalar.shown)
            }
        }
    }

    /// `; allowed: ...` from the table of keys.
    func hint(_ key: String) -> String {
        // The table is written for Markdown.
        Schema.byPath[keyPath(key)]?.values.map { "; allowed: \($0.filter { $0 != "`" })" } ?? ""
    }
}

/// Near misses among names.
enum Spelling {
    static func unknownKey(_ key: String, in section: String, allowed: [String]) -> String {
        var message = "unknown key; allowed here: \(allowed.joined(separator: ", "))"
        if let near = nearest(to: key, among: allowed) {
            message += " (did you mean \(near)?)"
        } else if let elsewhere = Schema.keys.first(where: { $0.name == key && $0.parent != section }) {
            message += " (did you mean \(elsewhere.path)?)"
        }
        return message
    }

    /// The closest of `names` that a slip could have turned into `word`.
    static func nearest(to word: String, among names: [String]) -> String? {
        // A long word is no slip of a short one, and the table below is not built for it.
        guard word.utf8.count <= 64 else { return nil }
        let folded = word.lowercased().map { $0 == "-" ? "_" : $0 }
        let ranked = names.map { ($0, distance(folded, Array($0))) }.min { $0.1 < $1.1 }
        guard let (name, distance) = ranked, distance <= max(1, min(name.count, folded.count) / 3) else { return nil }
        return name
    }

    /// Edits (insert, delete, replace, swap of neighbours) between two words.
    private static func distance(_ a: [Character], _ b: [Character]) -> Int {
        var before: [Int] = []
        var previous = Array(0...b.count)
        for i in a.indices {
            var row = [i + 1]
            for j in b.indices {
                var best = min(previous[j] + (a[i] == b[j] ? 0 : 1), previous[j + 1] + 1, row[j] + 1)
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, before[j - 1] + 1) }
                row.append(best)
            }
            before = previous
            previous = row
        }
        return previous[b.count]
    }
}
