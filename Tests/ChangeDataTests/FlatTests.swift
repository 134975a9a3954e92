import ChangeData
import Testing

/// The flat envelope, text by text.
struct FlatTests {
    static func flat(_ change: (inout EventFormat) -> Void = { _ in }) -> EventFormat {
        var format = EventFormat.test
        format.envelope = .flat
        change(&format)
        return format
    }

    static let end = #""_lsn":1000,"_commit_ts":"2023-11-14T22:13:20.123456Z","_xid":7,"_seq":"#

    @Test func rowsAreTheirColumnsAndTheFieldsOfTheChange() {
        let session = Session(Self.flat())
        let outputs = EncoderTests.feed(
            session,
            [
                Build.begin(1000), Build.relation(Build.table()), Build.insert(100, EncoderTests.row(1)),
                Build.update(100, [.text("1"), .unchanged, .text("2")]),
                Build.delete(100, key: [.text("1"), .null, .null]),
                Build.update(100, EncoderTests.row(3), key: [.text("2"), .null, .null]),
                Build.content("p\"", [1], isTransactional: true), Build.truncate([100]),
            ])
        #expect(session.errors.isEmpty)
        let end = Self.end
        #expect(
            outputs.map(\.value) == [
                #"{"id":1,"v":"x","w":null,"_op":"c",\#(end)1}"#,
                #"{"id":1,"w":2,"_op":"u",\#(end)2,"_unchanged":["v"]}"#,
                #"{"id":1,"_op":"d",\#(end)3}"#, nil,
                #"{"id":2,"_op":"d",\#(end)4}"#, nil, #"{"id":3,"v":"x","w":null,"_op":"c",\#(end)4}"#,
                #"{"prefix":"p\"","content":"AQ==","_op":"m",\#(end)5}"#, #"{"_op":"t",\#(end)6}"#,
            ])
        #expect(outputs.map(\.key)[6] == #"{"id":3}"#)
        for case let value? in outputs.map(\.value) { #expect(throws: Never.self) { try TestJSON(value) } }
    }

    @Test func deleteUnderFullHasTheWholeRow() {
        let session = Session(Self.flat { $0.timestamps = .epoch })
        let outputs = EncoderTests.feed(
            session,
            [
                Build.begin(1000), Build.relation(Build.table(identity: .full)),
                Build.delete(100, old: [.text("1"), .text("a"), .null]),
            ])
        #expect(
            outputs[0].value
                == #"{"id":1,"v":"a","w":null,"_op":"d","_lsn":1000,"_commit_ts":1700000000123456,"_xid":7,"_seq":1}"#)
    }

    @Test func firstColumnMayBeLeftOut() {
        var table = Build.table()
        table.columns.swapAt(0, 1)
        let session = Session(Self.flat())
        let outputs = EncoderTests.feed(
            session,
            [
                Build.begin(1000), Build.relation(table),
                Build.update(100, [.unchanged, .text("1"), .null]), Build.delete(100, key: [.null, .text("1"), .null]),
            ])
        #expect(outputs[0].value == #"{"id":1,"w":null,"_op":"u",\#(Self.end)1,"_unchanged":["v"]}"#)
        #expect(outputs[1].value == #"{"id":1,"_op":"d",\#(Self.end)2}"#)
    }

    @Test func columnsOfTheEnvelopesNamesAreRefused() {
        var table = Build.table()
        table.columns[1].name = "_op"
        let session = Session(Self.flat())
        session.feed(Build.relation(table))
        #expect(session.errors == [.reservedColumn(table: table.table, column: "_op")])
        let debezium = Session()
        debezium.feed(Build.relation(table))
        #expect(debezium.errors.isEmpty)
    }

    @Test func goldenRowsAreValidAndOneLine() throws {
        for json in [EventFormat.JSON.text, .inline] {
            var catalog = GoldenCatalog()
            let format = Self.flat {
                $0.json = json
                $0.numeric = .number
                $0.timestamps = .epoch
            }
            let session = Session(format) { catalog.describe($0) }
            var count = 0
            for message in try Fixtures.messages("pgoutput-15.ndjson") {
                for output in session.feed(message) {
                    count += 1
                    guard let value = output.value else { continue }
                    #expect(!value.contains("\n"))
                    #expect(throws: Never.self) { try TestJSON(value) }
                }
            }
            #expect(count > 400 - 20)
            #expect(session.errors.allSatisfy { if case .noKey = $0 { true } else { false } })
        }
    }
}
