import Glibc
import Telemetry
import Testing

/// A log whose reader hangs, as a log driver may.
@Suite struct LineWriterTests {
    private static func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        try #require(Glibc.pipe(&ends) == 0)
        return (ends[0], ends[1])
    }

    private func logger(_ descriptor: Int32) -> Logger {
        Logger(level: .info, format: .text(isColoured: false), sink: .descriptor(descriptor), now: { 0 })
    }

    private func drain(_ descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while poll(&ready, 1, 0) > 0 {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test(.timeLimit(.minutes(1))) func aReaderThatHangsHoldsNobodyUp() throws {
        let ends = try Self.pipe()
        defer { [ends.read, ends.write].forEach { close($0) } }
        let log = logger(ends.write)
        // More than any pipe holds.
        for number in 0..<40_000 {
            log.info("one line of many, each of which is some bytes long", ["number": .init(number)])
        }
        let before = drain(ends.read)
        #expect(before.contains("number=0\n") && !before.contains("number=39999\n"))
        log.info("the reader is back")
        let after = drain(ends.read)
        #expect(after.contains("lines were not taken in time, and are dropped)\n"))
        #expect(after.hasSuffix("the reader is back\n"))
        log.info("and stays")
        #expect(!drain(ends.read).contains("dropped"))
    }

    @Test func aLineLongerThanAPipeTakesAtOnceIsWhole() throws {
        let ends = try Self.pipe()
        defer { [ends.read, ends.write].forEach { close($0) } }
        let long = String(repeating: "x", count: 20_000)
        logger(ends.write).info("long", ["text": .init(long)])
        #expect(drain(ends.read).hasSuffix(long + "\n"))
    }

    @Test func aReaderThatIsGoneIsNoMatter() throws {
        signal(SIGPIPE, SIG_IGN)
        let ends = try Self.pipe()
        close(ends.read)
        logger(ends.write).info("nobody")
        close(ends.write)
        logger(ends.write).info("not even a descriptor")
    }
}
