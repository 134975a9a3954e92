/// Where a command's own lines go: standard output for people and scripts.
package struct Output: Sendable {
    private let write: @Sendable (String) -> Void
    /// Whether people watch: lines may be written over.
    package let isTerminal: Bool

    package init(isTerminal: Bool = false, _ write: @escaping @Sendable (String) -> Void) {
        self.write = write
        self.isTerminal = isTerminal
    }

    /// Writes over the line that was last passed here; for a terminal only.
    package func overwrite(_ text: String) { write("\r\u{1B}[2K" + text) }

    package func line(_ text: String = "") { write(text + "\n") }

    /// Findings, worst last.
    package func findings(_ findings: [Finding]) {
        for finding in findings.sorted(by: { $0.severity < $1.severity }) {
            let mark =
                switch finding.severity {
                case .fine: "ok      "
                case .warning: "warning "
                case .problem: "problem "
                }
            line("\(mark)\(finding.subject): \(finding.text)")
            for fix in finding.fixes { line("        -> \(fix)") }
        }
    }
}
