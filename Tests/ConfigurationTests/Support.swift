import Testing

@testable import Configuration

/// A file system made of a dictionary.
func files(_ contents: [String: String]) -> FileReading {
    { path throws(FileProblem) in
        guard let text = contents[path] else { throw FileProblem("No such file or directory") }
        return Array(text.utf8)
    }
}

let awsKeys = ["AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "hush"]

/// Parses; problems are thrown.
func load(
    _ text: String, environment: [String: String] = awsKeys, purpose: Configuration.Purpose = .both,
    files contents: [String: String] = [:]
) throws(ConfigurationProblems) -> Configuration {
    try Configuration.parse(
        Array(text.utf8), file: "sluice.yaml", environment: environment, purpose: purpose, readFile: files(contents))
}

/// The problems of a text, as they are printed.
func problems(
    _ text: String, environment: [String: String] = awsKeys, purpose: Configuration.Purpose = .both,
    files contents: [String: String] = [:]
) -> [String] {
    do throws(ConfigurationProblems) {
        _ = try load(text, environment: environment, purpose: purpose, files: contents)
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

/// The shortest file that runs.
let minimal = """
    name: tesouro
    postgres:
      url: postgresql://sluice@127.0.0.1:5432/gold
      tables: [public.a_gold]
    kafka:
      brokers: 127.0.0.1:9092
    s3:
      url: s3://lake/tesouro

    """

/// The shortest file with lines added to one of its sections.
func minimal(_ section: String, _ lines: String...) -> String {
    let body = lines.map { "  \($0)\n" }.joined()
    guard minimal.contains("\n\(section):\n") else { return minimal + "\(section):\n" + body }
    var result = ""
    for line in minimal.split(separator: "\n") {
        result += line + "\n"
        if line == "\(section):" { result += body }
    }
    return result
}

/// A generator whose failures can be run again: the seed is printed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        // SplitMix64.
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
