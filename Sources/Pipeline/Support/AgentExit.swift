/// Why the agent ends, and the exit status that scripts rely on.
package struct AgentExit: Error, Equatable, Sendable {
    /// The process's exit status; the numbers are part of the contract.
    package enum Code: Int32, Sendable {
        case done = 0
        /// `check` or `verify` found a difference.
        case different = 1
        /// Changes are lost, or may be: a human decides (C8).
        case gap = 3
        /// Another agent of the same name has the slot (C10).
        case replaced = 4
        /// A row that cannot be represented or is larger than its topic takes.
        case unrepresentable = 5
        /// A wrong command line.
        case usage = 64
        /// A server that cannot be reached, or refuses, at start.
        case unavailable = 69
        /// Our own fault, or a command's output that could not be written.
        case software = 70
        /// A wrong configuration.
        case configuration = 78
    }

    package var code: Code
    /// One line: what happened, to which slot, table, LSN, topic or object.
    package var message: String
    /// The facts behind it, a line each.
    package var details: [String]
    /// The ways out, each a command or an action.
    package var hints: [String]

    package init(_ code: Code, _ message: String, details: [String] = [], hints: [String] = []) {
        self.code = code
        self.message = message
        self.details = details
        self.hints = hints
    }
}

extension AgentExit: CustomStringConvertible {
    package var description: String {
        var lines = [message]
        lines += details.map { "  " + $0 }
        lines += hints.map { "  -> " + $0 }
        return lines.joined(separator: "\n")
    }
}
