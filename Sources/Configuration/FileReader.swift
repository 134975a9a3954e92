import Glibc

/// The file system, as far as a configuration needs it.
public enum FileReader {
    /// More than any configuration, certificate or secret.
    static let maximumBytes = 1 << 20

    /// The whole of a file of at most 1 MiB; pipes too, as a shell's `<(...)` gives.
    public static func read(_ path: String) throws(FileProblem) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileProblem(errorText(errno)) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileProblem(errorText(errno)) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= maximumBytes else { throw FileProblem("larger than 1 MiB") }
        }
    }

    /// Whether there is something at `path` (a file that may not be read counts: it is to be complained about, not passed over).
    public static func exists(_ path: String) -> Bool {
        access(path, F_OK) == 0
    }

    private static func errorText(_ code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        // The XSI variant: fills the buffer and returns 0.
        guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension Configuration {
    /// Where a configuration is looked for when `-c` names none.
    public static let searchPath = ["./sluice.yaml", "/etc/sluice/sluice.yaml"]

    /// The file to load: the given one, else the first of ``searchPath`` that exists.
    public static func locate(
        _ given: String?, exists: (String) -> Bool = FileReader.exists
    ) throws(ConfigurationProblems) -> String {
        if let given { return given }
        if let found = searchPath.first(where: exists) { return found }
        throw ConfigurationProblems([
            ConfigurationProblem(
                file: "sluice.yaml", location: nil, keyPath: "",
                message:
                    "no configuration: neither \(searchPath.joined(separator: " nor ")) exists; name one with -c FILE")
        ])
    }
}
