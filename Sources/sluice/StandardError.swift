import Glibc

/// Standard error, unbuffered.
enum StandardError {
    static func write(_ text: String) { writeAll(text, to: 2) }
}

/// Standard output, unbuffered: a command's lines are seen as they are made, in a pipe too.
enum StandardOutput {
    static func write(_ text: String) { writeAll(text, to: 1) }
}

private func writeAll(_ text: String, to descriptor: Int32) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard written > 0 else { return }
        bytes = bytes.dropFirst(written)
    }
}
