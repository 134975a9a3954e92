import ChangeData
import Glibc

// The decoder alone, on a recorded stream, on one core.
//
//   decoder-bench RECORDING SECONDS
//
// The recording: for each message its LSN (8 bytes) and its length (4 bytes), both little-endian, and its bytes as
// pgoutput sent them. Two runs: `decode` reads every message into
// cells, checks and counts it, and writes nothing (as a transaction before the stored position is read); `encode` also writes key,
// envelope and position into the chunks that the producer sends. Prints one line of JSON.

struct Recording {
    var bytes: [UInt8] = []
    /// Where each message is in `bytes`, and its LSN.
    var messages: [(range: Range<Int>, lsn: LSN)] = []
    var size: Int { messages.reduce(0) { $0 + $1.range.count } }

    init?(path: String) {
        guard let file = fopen(path, "rb") else { return nil }
        defer { fclose(file) }
        var part = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = fread(&part, 1, part.count, file)
            guard count > 0 else { break }
            bytes.append(contentsOf: part[..<count])
        }
        var place = 0
        func number(_ size: Int) -> UInt64 {
            (0..<size).reduce(0) { $0 | UInt64(bytes[place + $1]) << (8 * UInt64($1)) }
        }
        while place + 12 <= bytes.count {
            let lsn = LSN(number(8))
            place += 8
            let length = Int(number(4))
            place += 4
            guard place + length <= bytes.count else { return nil }
            messages.append((place..<place + length, lsn))
            place += length
        }
    }
}

struct Result {
    var bytes = 0
    var rows = 0
    var written = 0
    var cpu = 0.0

    func json(_ name: String) -> String {
        "\"\(name)\": {\"bytes\": \(bytes), \"rows\": \(rows), \"written\": \(written), \"cpu\": \(cpu)}"
    }
}

func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Reads the recording again and again, for so many seconds of CPU.
func run(_ recording: Recording, seconds: Double, resumingAt: LSN) throws(ChangeDataError) -> Result {
    var result = Result()
    let format = EventFormat(name: "bench", database: "bench", version: "0", epoch: 1)
    // As large as a chunk of the agent is; more than the caches hold, as there.
    let chunk = RecordChunk(capacity: 1 << 20)
    let began = cpuSeconds()
    repeat {
        // A session's encoder: the recording announces its tables at the beginning.
        var encoder = ChangeEncoder(format: format, resumingAt: resumingAt)
        for (range, lsn) in recording.messages {
            let message = recording.bytes.span.extracting(range)
            switch try encoder.consume(message, at: lsn, receivedAt: 1_700_000_000_000_000_000, into: chunk) {
            case .describe(let relation):
                try encoder.define(relation, as: TableDescription(primaryKey: ["id"]))
            case .changed: result.rows += 1
            default: break
            }
            guard chunk.byteCount > 900 << 10 else { continue }
            result.written += chunk.byteCount
            chunk.removeAll()
        }
        result.written += chunk.byteCount
        chunk.removeAll()
        result.bytes += recording.size
        result.cpu = cpuSeconds() - began
    } while result.cpu < seconds
    return result
}

guard CommandLine.arguments.count == 3, let length = Double(CommandLine.arguments[2]),
    let recording = Recording(path: CommandLine.arguments[1]), !recording.messages.isEmpty
else {
    print("decoder-bench RECORDING SECONDS")
    exit(64)
}
_ = try run(recording, seconds: length / 10, resumingAt: LSN(0))
let decoded = try run(recording, seconds: length, resumingAt: LSN(.max))
let encoded = try run(recording, seconds: length, resumingAt: LSN(0))
print("{\(decoded.json("decode")), \(encoded.json("encode")), \"messages\": \(recording.messages.count)}")
