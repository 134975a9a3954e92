/// Where a value stands in a file. Lines and columns count from 1; columns count characters.
public struct SourceLocation: Sendable, Equatable, Hashable {
    /// The line, from 1.
    public let line: Int
    /// The column, from 1.
    public let column: Int

    /// A location.
    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }
}

/// One thing that is wrong with the configuration. Safe to print: it holds no secret.
public struct ConfigurationProblem: Sendable, Equatable, CustomStringConvertible {
    /// The file, as the user named it.
    public let file: String
    /// The place in it; nil where the file itself is the problem.
    public let location: SourceLocation?
    /// The key, from the top, parts joined by dots: `kafka.split.age`. Empty where no key is to blame.
    public let keyPath: String
    /// What is wrong and what is allowed.
    public let message: String

    /// A problem.
    public init(file: String, location: SourceLocation?, keyPath: String, message: String) {
        self.file = file
        self.location = location
        self.keyPath = keyPath
        self.message = message
    }

    /// `sluice.yaml:12:5: kafka.partitons: unknown key; allowed here: ...`
    public var description: String {
        var text = file
        if let location { text += ":\(location.line):\(location.column)" }
        text += ": "
        if !keyPath.isEmpty { text += "\(keyPath): " }
        return text + message
    }
}

/// All that is wrong with one configuration, in the order of the file. Exit code 78.
public struct ConfigurationProblems: Error, Sendable, Equatable, CustomStringConvertible {
    /// At least one.
    public let problems: [ConfigurationProblem]

    /// The problems, sorted by their place.
    public init(_ problems: [ConfigurationProblem]) {
        func place(_ problem: (offset: Int, element: ConfigurationProblem)) -> (Int, Int, Int) {
            (problem.element.location?.line ?? 0, problem.element.location?.column ?? 0, problem.offset)
        }
        self.problems = problems.enumerated().sorted { place($0) < place($1) }.map(\.element)
    }

    /// One problem a line.
    public var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}
