/// Why a file could not be read; safe to print.
public struct FileProblem: Error, Sendable, Equatable {
    /// What happened: `No such file or directory`.
    public let message: String

    /// A problem.
    public init(_ message: String) { self.message = message }
}

/// Reads a whole file. Passed in, so that tests need no files.
public typealias FileReading = @Sendable (_ path: String) throws(FileProblem) -> [UInt8]

/// What reading one configuration needs and gathers: the outside world as parameters, the problems as a list.
final class ReadingContext {
    let environment: [String: String]
    let readFile: FileReading
    let purpose: Configuration.Purpose
    private(set) var problems: [ConfigurationProblem] = []
    var source: SourceMap

    init(file: String, environment: [String: String], purpose: Configuration.Purpose, readFile: @escaping FileReading) {
        self.environment = environment
        self.readFile = readFile
        self.purpose = purpose
        source = SourceMap(file: file)
    }

    func report(_ keyPath: String, at location: SourceLocation?, _ message: String) {
        problems.append(ConfigurationProblem(file: source.file, location: location, keyPath: keyPath, message: message))
    }

    /// A problem at the key's own place.
    func report(_ keyPath: String, _ message: String) {
        report(keyPath, at: source.location(of: keyPath), message)
    }

    /// Whether none of these keys has a problem yet, so that comparing them makes sense.
    func isSound(_ keyPaths: String...) -> Bool {
        !problems.contains { keyPaths.contains($0.keyPath) }
    }

    /// A variable that is set and not empty.
    func variable(_ name: String) -> String? {
        environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The text of a file that holds a secret; nil once the problem is reported.
    func secretFile(_ path: String, for keyPath: String, at location: SourceLocation?) -> Secret? {
        do throws(FileProblem) { return try Secret.read(path, by: readFile) } catch {
            report(keyPath, at: location, error.message)
            return nil
        }
    }
}

extension Secret {
    /// What a file holds, without one line end at its end.
    /// - Throws: why it cannot be had, with the path.
    public static func read(_ path: String, by readFile: FileReading = FileReader.read) throws(FileProblem) -> Secret {
        var bytes: [UInt8]
        do throws(FileProblem) { bytes = try readFile(path) } catch {
            throw FileProblem("cannot read \(path): \(error.message)")
        }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        guard !bytes.isEmpty else { throw FileProblem("\(path) is empty") }
        guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
            throw FileProblem("\(path) does not hold text in UTF-8")
        }
        return Secret(text)
    }
}
