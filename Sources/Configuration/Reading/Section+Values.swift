extension Section {
    private func wrong(_ key: String, _ scalar: Scalar, _ allowed: String) {
        report(key, "\"\(Self.excerpt(scalar.shown))\" is not allowed; allowed: \(allowed)")
    }

    /// The start of a value, fit for one line of a message. A URL's user and password are not for it.
    private static func excerpt(_ text: String) -> String {
        var text = text
        if let scheme = text.firstRange(of: "://"), let at = text[scheme.upperBound...].lastIndex(of: "@") {
            text.replaceSubrange(scheme.upperBound..<at, with: "***")
        }
        let line = String(text.prefix(60).map { $0.isNewline ? " " : $0 })
        return line.count < text.count ? line + "..." : line
    }

    /// Any text but none.
    func text(_ key: String, required: Bool = false) -> String? {
        guard let scalar = scalar(key) else {
            if required { missing(key) }
            return nil
        }
        guard !scalar.text.isEmpty else {
            report(key, "is empty\(hint(key))")
            return nil
        }
        return scalar.text
    }

    /// Reports that a key without a default is not there.
    func missing(_ key: String) {
        guard !has(key) else { return }  // Reported where it was read.
        report(key, "missing\(hint(key))")
    }

    /// A text that `parse` accepts.
    func parsed<Value>(_ key: String, allowed: String, required: Bool = false, _ parse: (String) -> Value?) -> Value? {
        guard let scalar = scalar(key) else {
            if required { missing(key) }
            return nil
        }
        guard let value = parse(scalar.text) else {
            wrong(key, scalar, allowed)
            return nil
        }
        return value
    }

    func size(_ key: String, _ range: ClosedRange<Int>) -> Int {
        let least = range.lowerBound > 0 ? ", \(ByteSize.text(range.lowerBound)) or more" : ""
        let most = range.upperBound < Int.max ? ", at most \(ByteSize.text(range.upperBound))" : ""
        return parsed(key, allowed: ByteSize.allowed + least + most) { text in
            ByteSize.parse(text).flatMap { range.contains($0) ? $0 : nil }
        } ?? range.lowerBound
    }

    func duration(_ key: String, from least: Duration = .zero, to most: Duration? = nil) -> Duration {
        let lower = least > .zero ? ", \(TimeSpan.text(least)) or more" : ""
        let upper = most.map { ", at most \(TimeSpan.text($0))" } ?? ""
        return parsed(key, allowed: TimeSpan.allowed + lower + upper) { text in
            TimeSpan.parse(text).flatMap { $0 >= least && $0 <= most ?? $0 ? $0 : nil }
        } ?? least
    }

    func integer(_ key: String, _ range: ClosedRange<Int>) -> Int {
        let allowed =
            range.upperBound == Int.max
            ? "a whole number, \(range.lowerBound) or more" : "\(range.lowerBound) to \(range.upperBound)"
        return parsed(key, allowed: allowed) { text in
            Int(text).flatMap { range.contains($0) && text.utf8.first != UInt8(ascii: "+") ? $0 : nil }
        } ?? range.lowerBound
    }

    func bool(_ key: String, default other: Bool = false) -> Bool {
        parsed(key, allowed: "true or false") { text in
            switch text {
            case "true": true
            case "false": false
            default: nil
            }
        } ?? other
    }

    func choice<Choice: CaseIterable & RawRepresentable<String>>(_ key: String, _ fallback: Choice) -> Choice {
        parsed(key, allowed: Choice.allCases.map(\.rawValue).joined(separator: ", "), Choice.init(rawValue:))
            ?? fallback
    }

    /// A secret in the file, or in the file that `<key>_file` names; nil where there is neither, or not to be read.
    func secret(_ key: String, wanted: Bool) -> Secret? {
        let fileKey = "\(key)_file"
        if has(key), has(fileKey) {
            report(fileKey, "given together with \(key); leave one of them out")
            return nil
        }
        guard wanted else { return nil }
        if has(key) { return text(key).map { Secret($0) } }
        guard has(fileKey), let path = text(fileKey) else { return nil }
        let keyPath = keyPath(fileKey)
        let secret = context.secretFile(path, for: keyPath, at: context.source.location(of: keyPath))
        if secret != nil { context.source.secretFiles[self.keyPath(key)] = path }
        return secret
    }
}
