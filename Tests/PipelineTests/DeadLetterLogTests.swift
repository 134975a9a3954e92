import ChangeData
import Synchronization
import Telemetry
import Testing

@testable import Pipeline

@Suite struct DeadLetterLogTests {
    private final class Lines: Sendable { let text = Mutex<[String]>([]) }

    @Test func theFirstIsToldAtOnceAndThenOneAMinute() {
        let lines = Lines()
        let log = Logger(
            level: .info, format: .text(isColoured: false),
            sink: LogSink { line in lines.text.withLock { $0.append(line) } }, now: { 0 })
        var letters = DeadLetterLog()
        func note(_ seconds: Int, _ lsn: UInt64) {
            let table = TableName(schema: "public", name: "t")
            letters.note(
                .unrepresentable(table: table, column: "v", why: .invalidUTF8, at: LSN(lsn)), log,
                now: Int64(seconds) * 1_000_000_000)
        }
        for second in 100..<160 { note(second, UInt64(second)) }
        note(160, 0xA0)
        // A clock that was set back does not silence it.
        note(50, 0x32)
        let told = lines.text.withLock { $0 }
        #expect(told.count == 3)
        #expect(told[0].contains("LSN 0/64 ") && told[0].contains("untold_before=0"))
        #expect(told[1].contains("LSN 0/A0 ") && told[1].contains("untold_before=59"))
        #expect(told[2].contains("LSN 0/32 ") && told[2].contains("untold_before=0"))
    }
}
