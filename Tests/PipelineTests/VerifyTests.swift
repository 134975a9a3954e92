import ChangeData
import Testing

@testable import Pipeline

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
private func text(_ bytes: [UInt8]?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

@Suite struct JSONMembersTests {
    @Test func membersAreRangesOfTheBytes() throws {
        let members = try #require(JSONMembers(bytes(#"{"a":1,"b\"c":"x,}","d":{"e":[1,"]"]},"f":null}"#)))
        #expect(members.members.count == 4)
        #expect(text(members.text(of: "a").map(Array.init)) == "1")
        #expect(text(members.text(of: #"b\"c"#).map(Array.init)) == #""x,}""#)
        #expect(text(members.text(of: "d").map(Array.init)) == #"{"e":[1,"]"]}"#)
        #expect(text(members.text(of: "f").map(Array.init)) == "null")
        #expect(members.text(of: "g") == nil)
    }

    @Test func whatIsNotOneObjectIsRefused() {
        for wrong in [
            "", "{", "[]", #"{"a"}"#, #"{"a":}"#, #"{"a":1"#, #"{"a":1}x"#, #"{"a:1}"#, #"{"a":"1}"#, #"{a:1}"#,
        ] {
            #expect(JSONMembers(bytes(wrong)) == nil, "\(wrong)")
        }
        #expect(JSONMembers(bytes("{}"))?.members.isEmpty == true)
    }

    @Test func anObjectCutAnywhereNeverTraps() {
        let whole = bytes(#"{"a":"\\\"","b":{"c":[{}]},"d":-1.5e3}"#)
        for end in 0..<whole.count { _ = JSONMembers(Array(whole[..<end])) }
    }
}

@Suite struct TableFoldTests {
    private func debezium(_ op: String, before: String = "null", after: String = "null", lsn: Int) -> [UInt8] {
        bytes(#"{"before":\#(before),"after":\#(after),"source":{"lsn":\#(lsn)},"transaction":null,"op":"\#(op)"}"#)
    }

    private func rows(_ fold: TableFold) -> [String] {
        fold.rows.values.map { String(decoding: $0, as: UTF8.self) }.sorted()
    }

    @Test func theLastRowOfEachKeyRemains() throws {
        var fold = TableFold(keyColumns: [bytes("id")])
        try fold.apply(debezium("c", after: #"{"id":1,"v":"a"}"#, lsn: 1))
        try fold.apply(debezium("c", after: #"{"id":2,"v":"b"}"#, lsn: 2))
        try fold.apply(debezium("u", after: #"{"id":1,"v":"c"}"#, lsn: 3))
        try fold.apply(debezium("d", before: #"{"id":2,"v":null}"#, lsn: 4))
        #expect(rows(fold) == [#"{"id":1,"v":"c"}"#])
        #expect(fold.changes == 4)
    }

    @Test func aTruncateRemovesWhatWasWrittenBeforeIt() throws {
        var fold = TableFold(keyColumns: [bytes("id")])
        try fold.apply(debezium("c", after: #"{"id":1}"#, lsn: 1))
        // Another partition's record may be read later although it was written earlier.
        try fold.apply(debezium("t", lsn: 5))
        try fold.apply(debezium("c", after: #"{"id":2}"#, lsn: 4))
        try fold.apply(debezium("c", after: #"{"id":3}"#, lsn: 6))
        #expect(rows(fold) == [#"{"id":3}"#])
    }

    @Test func aValueThatWasNotSentIsTheOneBefore() throws {
        var fold = TableFold(keyColumns: [bytes("id")])
        try fold.apply(debezium("c", after: #"{"id":1,"big":"long","a":["x"],"n":1}"#, lsn: 1))
        try fold.apply(
            debezium(
                "u",
                after: #"{"id":1,"big":"__debezium_unavailable_value","a":["__debezium_unavailable_value"],"n":2}"#,
                lsn: 2))
        #expect(rows(fold) == [#"{"id":1,"big":"long","a":["x"],"n":2}"#])
    }

    @Test(arguments: [true, false])
    func aChangedKeyTakesTheValuesOfTheOldOne(deleteFirst: Bool) throws {
        var fold = TableFold(keyColumns: [bytes("id")])
        try fold.apply(debezium("c", after: #"{"id":1,"big":"long"}"#, lsn: 1))
        let gone = debezium("d", before: #"{"id":1,"big":null}"#, lsn: 2)
        let new = debezium("c", after: #"{"id":2,"big":"__debezium_unavailable_value"}"#, lsn: 2)
        // The two keys may lie in different partitions, and be read in either order.
        for value in deleteFirst ? [gone, new] : [new, gone] { try fold.apply(value) }
        #expect(rows(fold) == [#"{"id":2,"big":"long"}"#])
    }

    @Test func aKeyThatChangesTwiceTakesTheValuesOfTheFirst() throws {
        let changes = [
            debezium("c", after: #"{"id":1,"big":"long"}"#, lsn: 1),
            debezium("d", before: #"{"id":1,"big":null}"#, lsn: 2),
            debezium("c", after: #"{"id":2,"big":"__debezium_unavailable_value"}"#, lsn: 2),
            debezium("d", before: #"{"id":2,"big":null}"#, lsn: 3),
            debezium("c", after: #"{"id":3,"big":"__debezium_unavailable_value"}"#, lsn: 3),
        ]
        // Each key's records stay in order; the partitions are read in any order.
        for order in [[0, 1, 2, 3, 4], [4, 2, 3, 0, 1], [2, 3, 4, 0, 1], [4, 0, 1, 2, 3]] {
            var fold = TableFold(keyColumns: [bytes("id")])
            for index in order { try fold.apply(changes[index]) }
            #expect(rows(fold) == [#"{"id":3,"big":"long"}"#], "\(order)")
        }
    }

    @Test func flatRowsFoldAlike() throws {
        var fold = TableFold(keyColumns: [bytes("id")])
        try fold.apply(
            bytes(#"{"id":1,"big":"long","n":1,"_op":"c","_lsn":16,"_commit_ts":"t","_xid":1,"_seq":1}"#))
        try fold.apply(
            bytes(#"{"id":1,"n":2,"_op":"u","_lsn":17,"_commit_ts":"t","_xid":1,"_seq":2,"_unchanged":["big"]}"#))
        #expect(rows(fold) == [#"{"id":1,"n":2,"big":"long"}"#])
    }

    @Test func whatIsNoEnvelopeIsRefused() {
        var fold = TableFold(keyColumns: [bytes("id")])
        #expect(throws: TableFold.Malformed.self) { try fold.apply(bytes("{}")) }
        #expect(throws: TableFold.Malformed.self) { try fold.apply(bytes("not json")) }
        #expect(throws: TableFold.Malformed.self) { try fold.apply(debezium("c", after: #"{"v":1}"#, lsn: 1)) }
    }

    @Test func eachKindOfDifferenceIsCounted() {
        func table(_ rows: [String: String]) -> [[UInt8]: [UInt8]] {
            Dictionary(uniqueKeysWithValues: rows.map { (bytes($0.key), bytes($0.value)) })
        }
        func contents(_ rows: [String: String]) -> TableReader.Contents { .init(rows: table(rows)) }
        let equal = TableDifference(
            table: contents(["1": #"{"id":1,"new":null}"#]), records: table(["1": #"{"id":1}"#]), isTrimmed: false)
        #expect(equal.isEmpty, "a column that was added later is null")
        let all = TableDifference(
            table: contents(["1": #"{"a":1}"#, "2": "{}"]), records: table(["1": #"{"a":2}"#, "3": "{}"]),
            isTrimmed: false)
        #expect(all.counts == [.changed: 1, .missing: 1, .extra: 1])
        let trimmed = TableDifference(table: contents(["2": "{}"]), records: [:], isTrimmed: true)
        #expect(trimmed.isEmpty)
        // A row that no record can hold is never equal to anything.
        let why = ChangeDataError.unrepresentable(
            table: TableName(schema: "s", name: "t"), column: "v", why: .invalidUTF8, at: LSN(1))
        let dead = TableDifference(
            table: .init(rows: table(["1": "{}"]), unrepresentable: [why, why, why]), records: table(["1": "{}"]),
            isTrimmed: true)
        #expect(dead.counts == [.unrepresentable: 3] && dead.description == "3 unrepresentable")
        #expect(dead.examples.first == "unrepresentable: column \"v\": \(ValueFailure.invalidUTF8.rawValue)")
    }

    /// The insert is gone, and an update since did not send the long value.
    @Test func aValueThatWasSentBeforeTheLogBeginsIsNoDifference() throws {
        var fold = TableFold(keyColumns: [bytes("id")])
        try fold.apply(debezium("u", after: #"{"id":1,"big":"__debezium_unavailable_value","n":2}"#, lsn: 17))
        try fold.apply(
            bytes(#"{"id":2,"n":2,"_op":"u","_lsn":17,"_commit_ts":"t","_xid":1,"_seq":2,"_unchanged":["big"]}"#))
        func difference(_ n: Int, isTrimmed: Bool) throws -> TableDifference {
            var table: [[UInt8]: [UInt8]] = [:]
            for id in 1...2 {
                let row = bytes(#"{"id":\#(id),"big":"long","n":\#(n)}"#)
                table[try fold.key(of: row)] = row
            }
            return TableDifference(
                table: .init(rows: table), records: fold.rows, isTrimmed: isTrimmed,
                unresolved: isTrimmed ? fold.unresolved : [:])
        }
        #expect(try difference(2, isTrimmed: true).isEmpty)
        #expect(try difference(3, isTrimmed: true).counts == [.changed: 2])
        #expect(try difference(2, isTrimmed: false).counts == [.changed: 2])
    }
}
