/// One thing that was looked at before anything is made or started.
package struct Finding: Equatable, Sendable {
    package enum Severity: Int, Sendable, Comparable {
        case fine, warning, problem
        package static func < (left: Severity, right: Severity) -> Bool { left.rawValue < right.rawValue }
    }

    package var severity: Severity
    /// What was looked at.
    package var subject: String
    /// What was seen.
    package var text: String
    /// What to do, each a command.
    package var fixes: [String]

    package init(_ severity: Severity, _ subject: String, _ text: String, fixes: [String] = []) {
        self.severity = severity
        self.subject = subject
        self.text = text
        self.fixes = fixes
    }
}

extension [Finding] {
    package var hasProblem: Bool { contains { $0.severity == .problem } }

    /// The problems as an exit.
    package func exit(_ code: AgentExit.Code, _ message: String) -> AgentExit {
        let problems = filter { $0.severity == .problem }
        return AgentExit(
            code, message, details: problems.map { "\($0.subject): \($0.text)" }, hints: problems.flatMap(\.fixes))
    }
}
