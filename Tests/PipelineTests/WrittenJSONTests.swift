import ChangeData
import Foundation
import Kafka
import ObjectStorage
import Postgres
import Synchronization
import Testing

@testable import Pipeline

/// The bytes of what others read: positions and manifests that lie in Kafka and in stores, and what scripts are given.
@Suite struct WrittenJSONTests {
    /// Every kind of character that JSON text holds otherwise, and some that it holds as they are.
    static let odd = "q\"b\\n\n\r\t\u{8}\u{C}\u{1}\u{1B}/<é\u{7F}\u{85}\u{2028}\u{1F600}"
    static let oddWritten = #"q\"b\\n\n\r\t\b\f\u0001\u001B/<é"# + "\u{7F}\u{85}\u{2028}" + #"\uD83D\uDE00"#

    @Test func aPositionWithAllThatItMayHold() {
        var position = StoredPosition(
            systemID: "7712204971176368436", timeline: UInt32.max, slot: "sluice_t", epoch: UInt32.max,
            lsn: LSN(0x19C_CF80), commitLSN: LSN(UInt64.max), ordinal: UInt64.max, splitPart: 2,
            commitTime: 1_795_633_610_160_929, options: "publication=\(Self.odd)", state: .creating,
            gaps: [
                .init(kind: "slot-missing", from: LSN(1), to: LSN(2), epoch: 3, acceptedAt: 1_700_000_000_000_000),
                .init(kind: Self.odd, from: LSN(3), to: LSN(0), epoch: 4, acceptedAt: 0),
            ], marks: [.init(lsn: LSN(5), time: 1_700_000_000_000_000), .init(lsn: LSN(6), time: 0)],
            replay: ReplayRange(from: LSN(1), to: LSN(9)))
        position.clock = 1_795_633_610_160_930
        position.publication = UInt32.max
        position.mark = PublicationMark(newest: UInt32.max, restrictions: 7)
        position.cluster = "4L6g3nShT-eMCtK--X86sw"
        position.partitions.usual = 3
        position.partitions.others = ["b\"": 7, "a": 1]
        #expect(
            ProgressRecord.encode(position) == #"{"v":1,"system_id":"7712204971176368436","timeline":4294967295,"#
                + #""slot":"sluice_t","epoch":4294967295,"lsn":"0/19CCF80","commit_lsn":"FFFFFFFF/FFFFFFFF","#
                + #""ordinal":18446744073709551615,"commit_ts":"2026-11-25T19:06:50.160929Z","#
                + #""options":"publication=\#(Self.oddWritten)","state":"creating","#
                + #""clock":"2026-11-25T19:06:50.160930Z","publication":4294967295,"published":[4294967295,7],"#
                + #""kafka":"4L6g3nShT-eMCtK--X86sw","split":2,"partitions":{"*":3,"a":1,"b\"":7},"#
                + #""gaps":[{"kind":"slot-missing","from":"0/1","to":"0/2","epoch":3,"#
                + #""accepted_at":"2023-11-14T22:13:20.000000Z"},{"kind":"\#(Self.oddWritten)","from":"0/3","#
                + #""to":"0/0","epoch":4,"accepted_at":"1970-01-01T00:00:00.000000Z"}],"#
                + #""window":[{"lsn":"0/5","at":"2023-11-14T22:13:20.000000Z"},"#
                + #"{"lsn":"0/6","at":"1970-01-01T00:00:00.000000Z"}],"replay":{"from":"0/1","to":"0/9"}}"#)
    }

    private static let noon = SourceHour(ofMicroseconds: Made.at(1).commitTime)

    private static func entry(
        _ topic: String, _ partition: Int32, _ start: Int64, gap: String? = nil
    ) -> HourManifest.Entry {
        .init(
            key: "\(HourManifest.prefix(topic: topic, hour: noon))\(topic)+\(partition)+000000000\(start).json",
            partition: partition, size: 1 << 40,
            object: StoredObject(
                start: start, end: start + 3, records: 3, tombstones: 1, dropped: 2,
                firstPosition: Made.at(UInt64(start)), lastPosition: Made.at(UInt64(start) + 5), mark: nil,
                watermark: nil, sha256: "ab", gap: gap))
    }

    @Test func aManifest() {
        let manifest = HourManifest(
            topic: Self.odd, hour: Self.noon, revision: 2, clock: Self.noon.next.start,
            entries: [Self.entry("t", 1, 8, gap: "5-7"), Self.entry("t", 0, 4)])
        let folder = "t/year=2024/month=02/day=29/hour=12/t"
        #expect(
            manifest.json == #"{"v":1,"topic":"\#(Self.oddWritten)","hour":"2024-02-29T12:00:00.000000Z","#
                + #""revision":2,"clock":"2024-02-29T13:00:00.000000Z","records":6,"tombstones":2,"dropped":4,"#
                + #""first_pos":"1/0/4/1/1709208000000000","last_pos":"1/0/D/1/1709208000000000","#
                + #""first_lsn":"0/4","last_lsn":"0/D","objects":[{"key":"\#(folder)+0+0000000004.json","#
                + #""partition":0,"start":4,"end":7,"records":3,"tombstones":1,"#
                + #""first_pos":"1/0/4/1/1709208000000000","last_pos":"1/0/9/1/1709208000000000","#
                + #""size":1099511627776,"sha256":"ab"},{"key":"\#(folder)+1+0000000008.json","#
                + #""partition":1,"start":8,"end":11,"records":3,"tombstones":1,"#
                + #""first_pos":"1/0/8/1/1709208000000000","last_pos":"1/0/D/1/1709208000000000","#
                + #""size":1099511627776,"sha256":"ab","gap":"5-7"}]}"# + "\n")
        let empty = HourManifest(topic: "t", hour: Self.noon, revision: 1, clock: 0, entries: [])
        #expect(
            empty.json == #"{"v":1,"topic":"t","hour":"2024-02-29T12:00:00.000000Z","revision":1,"#
                + #""clock":"1970-01-01T00:00:00.000000Z","records":0,"tombstones":0,"dropped":0,"objects":[]}"# + "\n")
    }

    @Test func hours() throws {
        let root = "\(NSTemporaryDirectory())/sluice-hours-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let location = StoreLocation.file(FileStoreSettings(root: root))
        let store = try ObjectStore(location)
        let sealed = HourManifest(
            topic: "a.b", hour: Self.noon, revision: 1, clock: Self.noon.next.start,
            entries: [Self.entry("a.b", 0, 4), Self.entry("a.b", 0, 8, gap: "6-7")])
        _ = try store.put(
            HourManifest.key(topic: "a.b", hour: Self.noon, revision: 1), body: .bytes(Array(sealed.json.utf8)))
        for key in [Self.entry("a.b", 0, 4).key, Self.entry("a.b", 1, 1).key] {
            _ = try store.put(key, body: .bytes(Array("{}\n".utf8)))
        }
        let settings = SinkSettings(
            name: "t", kafka: try KafkaSettings(brokers: "127.0.0.1:1", clientID: "t"),
            topics: try TopicSelection(
                name: "t", template: "{table}", tables: [TablePattern(schema: "public", table: "*")]), store: location,
            storeName: "the test's store", compression: .none, conditional: .required,
            segments: SegmentPolicy(bytes: 1, age: 1), memory: 1, spool: 1, spoolDirectory: "/tmp", startTimeout: 1)
        let shown = Shown()
        let command = HoursCommand(settings: settings, clock: .system, output: Output { shown.add($0) })
        for topic in ["a.b", "q\"é\u{1F600}"] {
            #expect(throws: AgentExit.self) {
                try command.run(.init(topic: topic, hour: Self.noon.start, last: 1, json: true))
            }
        }
        #expect(
            shown.text == #"{"topic":"a.b","hour":"2024-02-29T12:00:00.000000Z","complete":false,"objects":2,"#
                + #""late_objects":1,"missing_objects":1,"revision":1,"records":6,"gaps":1,"#
                + #""manifest":"a.b/year=2024/month=02/day=29/hour=12/_manifest-0001.json"}"# + "\n"
                + #"{"topic":"q\"é\uD83D\uDE00","hour":"2024-02-29T12:00:00.000000Z","#
                + #""complete":false,"objects":0,"late_objects":0,"missing_objects":0}"# + "\n")
    }

    /// Without an hour it would be "no objects yet", for ever; with one a sensor would wait as long.
    @Test(arguments: [nil, Self.noon.start])
    func hoursOfATopicThatTheConfigurationDoesNotHave(hour: Int64?) throws {
        let root = "\(NSTemporaryDirectory())/sluice-hours-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let location = StoreLocation.file(FileStoreSettings(root: root))
        let store = try ObjectStore(location)
        _ = try store.put(Self.entry("public.old", 0, 4).key, body: .bytes(Array("{}\n".utf8)))
        let settings = SinkSettings(
            name: "t", kafka: try KafkaSettings(brokers: "127.0.0.1:1", clientID: "t"),
            topics: try TopicSelection(
                name: "t", template: "{schema}.{table}", tables: [TablePattern(schema: "public", table: "new*")]),
            store: location, storeName: "the test's store", compression: .none, conditional: .required,
            segments: SegmentPolicy(bytes: 1, age: 1), memory: 1, spool: 1, spoolDirectory: "/tmp", startTimeout: 1)
        let shown = Shown()
        func code(_ topic: String) -> AgentExit.Code? {
            do throws(AgentExit) {
                try HoursCommand(settings: settings, clock: .system, output: Output { shown.add($0) })
                    .run(.init(topic: topic, hour: hour, last: 1, json: true))
                return nil
            } catch { return error.code }
        }
        #expect(code("public.nosuch") == .usage && shown.text.isEmpty)
        // What the store has from before, and what may come, are both something.
        let open: AgentExit.Code? = hour == nil ? nil : .different
        #expect(code("public.old") == open && code("public.newer") == open)
    }

    private final class Shown: Sendable {
        private let lines = Mutex("")
        var text: String { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0 += line } }
    }

    @Test func aReportOfVerify() {
        var different = TableDifference(isTrimmed: false)
        different.note(extra: Array("{\"id\":1}".utf8))
        different.note(extra: Array("{\"id\":2}".utf8))
        #expect(VerifyReport().json == #"{"lsn":null,"kafka_lsn":null,"comparisons":[],"not_compared":[]}"#)
        var report = VerifyReport(rounds: [.init(lsn: LSN(0x1_0000_0010), held: LSN(0x10))])
        #expect(report.json == #"{"lsn":"1/10","kafka_lsn":"0/10","comparisons":[],"not_compared":[]}"#)
        report.rounds[0].outcomes = [
            .init(table: Self.odd, place: "kafka", rows: 2, changes: 3, difference: TableDifference(isTrimmed: true)),
            .init(
                table: "public.t", place: "s3", rows: 2, changes: 4, difference: different, hasHole: true,
                note: Self.odd),
        ]
        report.uncompared = [.init(table: Self.odd, reason: "was dropped", hint: "again")]
        #expect(
            report.json == #"{"lsn":"1/10","kafka_lsn":"0/10","comparisons":[{"table":"\#(Self.oddWritten)","#
                + #""place":"kafka","lsn":"1/10","rows":2,"changes":3,"missing":0,"extra":0,"changed":0,"#
                + #""unrepresentable":0,"hole":false,"note":null},{"table":"public.t","place":"s3","lsn":"1/10","#
                + #""rows":2,"changes":4,"missing":0,"extra":2,"changed":0,"unrepresentable":0,"hole":true,"#
                + #""note":"\#(Self.oddWritten)"}],"not_compared":[{"table":"\#(Self.oddWritten)","#
                + #""reason":"was dropped"}]}"#)
        report.rounds[0].outcomes.removeFirst()
        report.rounds[0].outcomes[0].note = "why"
        report.uncompared[0].table = "public.u"
        #expect(
            report.lines == [
                "as of 1/10:", "  public.t  s3     2 rows, 4 changes: records are missing, 2 extra", "    why",
                "    extra: {\"id\":1}", "    extra: {\"id\":2}",
                "  Kafka holds no more than 0/10: no agent streams, and what came since shows as a difference",
                "not compared:", "  public.u was dropped",
            ])
        report.rounds[0].held = report.rounds[0].lsn
        report.uncompared = []
        #expect(report.lines.count == 5)
    }
}
