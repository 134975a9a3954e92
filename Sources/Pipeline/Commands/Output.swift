/// Where a command's own lines go: standard output for people and scripts.
package struct Output: Sendable {
    private let write: @Sendable (String) -> Void

    package init(_ write: @escaping @Sendable (String) -> Void) { self.write = write }

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
