import Dates
import Synchronization
import Testing

@testable import Telemetry

/// Keeps what a sink was given.
final class Captured: Sendable {
    private let lines = Mutex<[String]>([])
    var sink: LogSink { LogSink { line in self.lines.withLock { $0.append(line) } } }
    var all: [String] { lines.withLock { $0 } }
}

@Suite struct LoggerTests {
    private let noon: @Sendable () -> Int64 = { 1_795_635_600_123_456 }

    @Test func text() {
        let captured = Captured()
        let logger = Logger(level: .info, format: .text(isColoured: false), sink: captured.sink, now: noon)
        logger.info("stream started", ["slot": "sluice_t", "rows": 5, "lag": 0.5, "standby": false])
        logger.with(["topic": "a b"]).warning(
            "value\u{7}",
            ["x": "a=b", "y": "line\nbreak \u{1B}[2J", "z": "", "t": LogValue(Duration.milliseconds(1500))])
        logger.debug("not wanted")
        logger.error("bad")
        #expect(
            captured.all == [
                "2026-11-25T19:40:00.123Z INFO  stream started slot=sluice_t rows=5 lag=0.5 standby=false\n",
                "2026-11-25T19:40:00.123Z WARN  value\u{7} topic=\"a b\" x=\"a=b\" y=\"line\\nbreak \\u001b[2J\" z=\"\" t=1.5\n",
                "2026-11-25T19:40:00.123Z ERROR bad\n",
            ])
        let coloured = Captured()
        Logger(level: .debug, format: .text(isColoured: true), sink: coloured.sink, now: noon).debug("x", ["k": 1])
        #expect(
            coloured.all == [
                "\u{1B}[2m2026-11-25T19:40:00.123Z\u{1B}[0m \u{1B}[36mDEBUG\u{1B}[0m x \u{1B}[2mk=\u{1B}[0m1\n"
            ])
    }

    @Test func json() throws {
        let captured = Captured()
        let logger = Logger(level: .debug, format: .json, sink: captured.sink, now: noon).with([
            "slot": "s\"\\\n\u{2028}é😀"
        ])
        logger.debug("m", ["n": -1, "d": 2.5, "nan": .double(.nan), "ok": true, "level": "forged"])
        let line = try #require(captured.all.first)
        #expect(line.hasSuffix("\n") && line.filter(\.isNewline).count == 1)
        let value = try #require(JSONValue(parsing: Array(line.utf8)))
        #expect(
            value["ts"]?.string == "2026-11-25T19:40:00.123Z" && value["level"]?.string == "debug"
                && value["message"]?.string == "m")
        #expect(value["slot"]?.string == "s\"\\\n\u{2028}é😀" && value["n"]?.integer == -1 && value["d"]?.double == 2.5)
        #expect(value["nan"] == .null && value["ok"]?.bool == true && value["level_"]?.string == "forged")
    }

    @Test func aLineThatIsNotWantedIsNotBuilt() {
        func costly() -> LogValue {
            Issue.record("built")
            return 1
        }
        Logger(level: .warning, format: .json, sink: LogSink { _ in }, now: noon).info("x", ["y": costly()])
        #expect(Logger.Level.allCases.sorted() == [.error, .warning, .info, .debug])
    }

    @Test func throttle() {
        let time = Mutex<Int64>(0)
        let captured = Captured()
        let clock: @Sendable () -> Int64 = { time.withLock { $0 } }
        let logger = Logger(level: .info, format: .text(isColoured: false), sink: captured.sink, now: clock)
        let throttle = LogThrottle(every: .seconds(10))
        for second in 0..<25 {
            time.withLock { $0 = Int64(second) * 1_000_000 }
            logger.log(.warning, "again", throttle: throttle, ["n": LogValue(second)])
        }
        #expect(
            captured.all.map { String($0.dropFirst(31).dropLast()) } == [
                "again n=0", "again n=10 suppressed=9", "again n=20 suppressed=9",
            ])
        // A clock that goes back far does not silence it.
        time.withLock { $0 = -100_000_000 }
        logger.log(.warning, "again", throttle: throttle)
        #expect(captured.all.count == 4)
        #expect(LogThrottle(every: .seconds(Int64.max)).admit(at: 0) == 0)
    }

    @Test func linesOfManyThreadsStayWhole() async {
        let captured = Captured()
        let logger = Logger(level: .info, format: .json, sink: captured.sink, now: noon)
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask { for n in 0..<100 { logger.info("m", ["task": LogValue(task), "n": LogValue(n)]) } }
            }
        }
        #expect(captured.all.count == 800)
        #expect(captured.all.allSatisfy { JSONValue(parsing: Array($0.utf8)) != nil })
    }

    @Test func timestamps() {
        #expect(ISOTime.milliseconds(microseconds: 0) == "1970-01-01T00:00:00.000Z")
        #expect(ISOTime.milliseconds(microseconds: -1) == "1969-12-31T23:59:59.999Z")
        #expect(ISOTime.milliseconds(microseconds: 951_868_799_999_000) == "2000-02-29T23:59:59.999Z")
        _ = ISOTime.milliseconds(microseconds: .min)
        _ = ISOTime.milliseconds(microseconds: .max)
    }
}

@Suite struct JSONTests {
    private func parse(_ text: String) -> JSONValue? { JSONValue(parsing: Array(text.utf8)) }

    @Test func values() {
        #expect(
            parse(" {\"a\":[1,-2.5e3,true,false,null,\"\\u00e9\\ud83d\\ude00\\n\"],\"b\":{}} ")
                == .object([
                    ("a", .array([.integer(1), .double(-2500), .bool(true), .bool(false), .null, .string("é😀\n")])),
                    ("b", .object([])),
                ]))
        #expect(
            parse("9223372036854775807") == .integer(.max)
                && parse("9223372036854775808") == .double(9223372036854775808))
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "01", "-", "-01", "1.", "1e", "+1", "nul", "\"\\x\"", "\"\\u12\"",
        "\"\\ud800\"", "\"\\udc00\"",
        "\"\n\"", "\"", "1 2", "[1 2]", "{1:2}", "NaN", "\u{FEFF}1", "tru", "\"\\", "\"\\u", "\"\\ud800\\",
    ])
    func refused(text: String) {
        #expect(parse(text) == nil)
    }

    @Test func depthIsBounded() {
        #expect(parse(String(repeating: "[", count: 33) + String(repeating: "]", count: 33)) != nil)
        #expect(parse(String(repeating: "[", count: 34) + String(repeating: "]", count: 34)) == nil)
        #expect(parse(String(repeating: "[", count: 1_000_000)) == nil)
        #expect(JSONValue(parsing: [0x22, 0xFF, 0x22]) == nil)
    }

    @Test func statusGoesRoundAndAnyBytesGiveAnAnswer() throws {
        for document in [full, StatusDocument(name: "n", version: "0", state: "starting", time: "")] {
            #expect(StatusDocument(json: Array(document.json().utf8)) == document)
        }
        #expect(
            StatusDocument(json: Array("{}".utf8)) == nil
                && StatusDocument(json: Array("{\"name\":\"a\",\"state\":\"b\",\"new\":[1]}".utf8))?.name == "a")
        let bytes = Array(full.json().utf8)
        for length in 0..<bytes.count { #expect(StatusDocument(json: Array(bytes[..<length])) == nil) }
        let seed = UInt64.random(in: 0...UInt64.max)
        print("statusGoesRoundAndAnyBytesGiveAnAnswer: seed \(seed)")
        var state = seed
        func next(_ bound: Int) -> Int {
            state = state &* 6364136223846793005 &+ 1442695040888963407
            return Int(state >> 33) % bound
        }
        for _ in 0..<5_000 {
            var changed = bytes
            for _ in 0...next(4) { changed[next(changed.count)] = UInt8(next(256)) }
            if let document = StatusDocument(json: changed) {
                #expect(!StatusReport.text(document, isColoured: true).isEmpty)
            }
        }
    }
}

/// A document with every section.
let full: StatusDocument = {
    var d = StatusDocument(
        name: "tesouro", version: "0.1.0", state: "streaming", time: "2026-11-25T19:40:00.123Z", uptimeSeconds: 93_784,
        detail: nil)
    var source = StatusDocument.Source()
    source.slot = "sluice_tesouro"
    source.epoch = 1
    source.serverLSN = "16/B3800000"
    source.receivedLSN = "16/B37FFF00"
    source.storedLSN = "16/B3700000"
    source.confirmedLSN = "16/B3700000"
    source.restartLSN = "16/B2000000"
    source.receivedLagBytes = 256
    source.storedLagBytes = 1 << 20
    source.confirmedLagBytes = 1 << 20
    source.restartLagBytes = 25_165_824
    source.lagSeconds = 0.042
    source.retainedWALBytes = 25_165_824
    source.safeWALBytes = 10 << 30
    d.source = source
    var kafka = StatusDocument.Kafka()
    kafka.transactions = 1_204
    kafka.rows = 48_201_337
    kafka.lastCommitMilliseconds = 11.3
    kafka.bufferedBytes = 3 << 20
    d.kafka = kafka
    for (n, name) in ["dadostesouroipca_gold", "dadostesouropre_gold"].enumerated() {
        var table = StatusDocument.Table(table: "public.\(name)", topic: "tesouro.public.\(name)")
        table.inserts = 48_000_000 / Int64(n + 1)
        table.updates = 190_201
        table.deletes = 11_136
        table.truncates = Int64(n)
        d.tables.append(table)
    }
    var sink = StatusDocument.Sink(state: "running")
    sink.objects = 412
    sink.bytes = 9_123_456_789
    sink.dropped = 0
    var partition = StatusDocument.Partition(topic: "tesouro.public.dadostesouroipca_gold", partition: 0)
    partition.lastOffset = 48_100_000
    partition.lagRecords = 101_337
    partition.openBytes = 70_123_456
    partition.hour = "2026-11-25T19Z"
    sink.partitions = [partition, StatusDocument.Partition(topic: "tesouro.public.dadostesouropre_gold", partition: 0)]
    d.sink = sink
    d.gaps = [
        .init(
            kind: "slot invalidated", fromLSN: "15/00000000", toLSN: "15/10000000", acceptedAt: "2026-11-01T08:00:00Z"),
        .init(kind: "slot re-created", fromLSN: "16/00000000", toLSN: "16/10000000"),
    ]
    d.errors = [
        .init(kind: "kafka/_TRANSPORT", count: 3),
        .init(kind: "<img src=x onerror=alert(1)> is shown as text", count: 1),
    ]
    return d
}()

@Suite struct StatusReportTests {
    @Test func ladder() {
        let text = StatusReport.text(full, isColoured: false)
        #expect(
            text.hasPrefix(
                """
                tesouro  streaming  sluice 0.1.0, up 26 h 3 min

                WAL, slot sluice_tesouro
                  step             lsn          behind
                  server           16/B3800000     0 B
                  received         16/B37FFF00   256 B
                  stored in Kafka  16/B3700000   1 MiB
                  confirmed        16/B3700000   1 MiB
                  restart          16/B2000000  24 MiB
                  lag 42 ms, WAL kept 24 MiB, safe for another 10 GiB

                Kafka
                  48201337 rows in 1204 transactions, last commit 11.3 ms, 3 MiB buffered
                """), "\(text)")
        #expect(!text.contains("\u{1B}") && StatusReport.text(full, isColoured: true).contains("\u{1B}[1;32mstreaming"))
        var alone = StatusDocument(name: "n", version: "0", state: "sink only", time: "")
        for (sink, colour) in [("running", "1;32"), ("paused", "1;33"), ("failed", "1;31")] {
            alone.sink = StatusDocument.Sink(state: sink)
            #expect(StatusReport.text(alone, isColoured: true).contains("\u{1B}[\(colour)msink only"))
        }
        var dead = full
        dead.kafka?.deadLetters = 3
        #expect(StatusReport.text(dead, isColoured: false).contains("3 MiB buffered, 3 dead letters\n"))
        var evil = full
        evil.state = "a\u{1B}[2J"
        evil.detail = "x\ny"
        #expect(
            StatusReport.text(evil, isColoured: false).contains("a?[2J")
                && StatusReport.text(evil, isColoured: false).contains("x?y"))
    }
}
