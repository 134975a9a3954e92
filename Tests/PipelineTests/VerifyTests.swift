import ChangeData
import Foundation
import LocalStorage
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

    /// What PostgreSQL may keep outside its row.
    private static let long = String(repeating: "long", count: 100)

    private func makeFold(limit: Int = 16 << 20) throws -> TableFold {
        let disk = try DiskMap(in: NSTemporaryDirectory(), cacheBytes: 1 << 20, limit: limit)
        return TableFold(keyColumns: [bytes("id")], on: disk, number: 1)
    }

    private func rows(_ fold: TableFold) throws -> [String] {
        var keys: [[UInt8]] = []
        try fold.forEachLeft { keys.append($0) }
        return try keys.compactMap { try text(fold.take($0)?.bytes) }.sorted()
    }

    @Test func theLastRowOfEachKeyRemains() throws {
        let fold = try makeFold()
        try fold.apply(debezium("c", after: #"{"id":1,"v":"a"}"#, lsn: 1), epoch: 1)
        try fold.apply(debezium("c", after: #"{"id":2,"v":"b"}"#, lsn: 2), epoch: 1)
        try fold.apply(debezium("u", after: #"{"id":1,"v":"c"}"#, lsn: 3), epoch: 1)
        try fold.apply(debezium("d", before: #"{"id":2,"v":null}"#, lsn: 4), epoch: 1)
        #expect(try rows(fold) == [#"{"id":1,"v":"c"}"#])
        #expect(fold.changes == 4)
    }

    @Test func aTruncateRemovesWhatWasWrittenBeforeIt() throws {
        let fold = try makeFold()
        try fold.apply(debezium("c", after: #"{"id":1}"#, lsn: 1), epoch: 1)
        // Another partition's record may be read later although it was written earlier.
        try fold.apply(debezium("t", lsn: 5), epoch: 1)
        try fold.apply(debezium("c", after: #"{"id":2}"#, lsn: 4), epoch: 1)
        try fold.apply(debezium("c", after: #"{"id":3}"#, lsn: 6), epoch: 1)
        #expect(try rows(fold) == [#"{"id":3}"#])
    }

    @Test func aValueThatWasNotSentIsTheOneBefore() throws {
        let fold = try makeFold()
        try fold.apply(debezium("c", after: #"{"id":1,"big":"long","a":["x"],"n":1}"#, lsn: 1), epoch: 1)
        try fold.apply(
            debezium(
                "u",
                after: #"{"id":1,"big":"__debezium_unavailable_value","a":["__debezium_unavailable_value"],"n":2}"#,
                lsn: 2), epoch: 1)
        #expect(try rows(fold) == [#"{"id":1,"big":"long","a":["x"],"n":2}"#])
    }

    @Test(arguments: [true, false])
    func aChangedKeyTakesTheValuesOfTheOldOne(deleteFirst: Bool) throws {
        let fold = try makeFold()
        try fold.apply(debezium("c", after: #"{"id":1,"big":"\#(Self.long)"}"#, lsn: 1), epoch: 1)
        let gone = debezium("d", before: #"{"id":1,"big":null}"#, lsn: 2)
        let new = debezium("c", after: #"{"id":2,"big":"__debezium_unavailable_value"}"#, lsn: 2)
        // The two keys may lie in different partitions, and be read in either order.
        for value in deleteFirst ? [gone, new] : [new, gone] { try fold.apply(value, epoch: 1) }
        #expect(try rows(fold) == [#"{"id":2,"big":"\#(Self.long)"}"#])
    }

    @Test func aKeyThatChangesTwiceTakesTheValuesOfTheFirst() throws {
        let changes = [
            debezium("c", after: #"{"id":1,"big":"\#(Self.long)"}"#, lsn: 1),
            debezium("d", before: #"{"id":1,"big":null}"#, lsn: 2),
            debezium("c", after: #"{"id":2,"big":"__debezium_unavailable_value"}"#, lsn: 2),
            debezium("d", before: #"{"id":2,"big":null}"#, lsn: 3),
            debezium("c", after: #"{"id":3,"big":"__debezium_unavailable_value"}"#, lsn: 3),
        ]
        // Each key's records stay in order; the partitions are read in any order.
        for order in [[0, 1, 2, 3, 4], [4, 2, 3, 0, 1], [2, 3, 4, 0, 1], [4, 0, 1, 2, 3]] {
            let fold = try makeFold()
            for index in order { try fold.apply(changes[index], epoch: 1) }
            #expect(try rows(fold) == [#"{"id":3,"big":"\#(Self.long)"}"#], "\(order)")
        }
    }

    /// A changed key whose new one was another row's before a truncate.
    @Test func aRowThatIsLongGoneCompletesNothing() throws {
        let fold = try makeFold()
        for value in [
            debezium("c", after: #"{"id":2,"big":"gone"}"#, lsn: 1), debezium("t", lsn: 2),
            debezium("c", after: #"{"id":1,"big":"\#(Self.long)"}"#, lsn: 3),
            debezium("d", before: #"{"id":1,"big":null}"#, lsn: 4),
            debezium("c", after: #"{"id":2,"big":"__debezium_unavailable_value"}"#, lsn: 4),
        ] { try fold.apply(value, epoch: 1) }
        #expect(try rows(fold) == [#"{"id":2,"big":"\#(Self.long)"}"#])
    }

    /// What was moved out stays out when the row becomes small.
    @Test func aRowThatHasBecomeSmallKeepsWhatItHasOutside() throws {
        let fold = try makeFold()
        for value in [
            debezium("c", after: #"{"id":1,"a":"short","b":"\#(Self.long)"}"#, lsn: 1),
            debezium("u", after: #"{"id":1,"a":"__debezium_unavailable_value","b":""}"#, lsn: 2),
            debezium("d", before: #"{"id":1,"a":null,"b":null}"#, lsn: 3),
            debezium("c", after: #"{"id":2,"a":"__debezium_unavailable_value","b":""}"#, lsn: 3),
        ] { try fold.apply(value, epoch: 1) }
        #expect(try rows(fold) == [#"{"id":2,"a":"short","b":""}"#])
    }

    @Test func flatRowsFoldAlike() throws {
        let fold = try makeFold()
        try fold.apply(
            bytes(#"{"id":1,"big":"long","n":1,"_op":"c","_lsn":16,"_commit_ts":"t","_xid":1,"_seq":1}"#), epoch: 1)
        try fold.apply(
            bytes(#"{"id":1,"n":2,"_op":"u","_lsn":17,"_commit_ts":"t","_xid":1,"_seq":2,"_unchanged":["big"]}"#),
            epoch: 1)
        #expect(try rows(fold) == [#"{"id":1,"n":2,"big":"long"}"#])
    }

    /// A table that is filled anew again and again, by deletes or by truncates: the disk holds what is in it, not what has ever been.
    @Test(arguments: [true, false]) func theDiskDoesNotGrowWithWhatIsGone(byTruncate: Bool) throws {
        let fold = try makeFold(limit: 1 << 20)
        var lsn = 0
        for fill in 0..<40 {
            let ids = fill * 500..<(fill + 1) * 500
            for id in ids {
                lsn += 1
                try fold.apply(
                    debezium(
                        "c", after: #"{"id":\#(id),"a":"Tesouro IPCA+ 2035","b":1234.5678,"c":"2026-11-27"}"#, lsn: lsn),
                    epoch: 1)
            }
            guard fill < 39 else { continue }
            lsn += 1
            if byTruncate {
                try fold.apply(debezium("t", lsn: lsn), epoch: 1)
            } else {
                for id in ids { try fold.apply(debezium("d", before: #"{"id":\#(id)}"#, lsn: lsn), epoch: 1) }
            }
        }
        #expect(try rows(fold).count == 500)
    }

    /// The LSNs of another cluster may be lower.
    @Test func aTruncateOfAnOlderEpochLeavesWhatCameSince() throws {
        let fold = try makeFold()
        try fold.apply(debezium("c", after: #"{"id":1}"#, lsn: 90), epoch: 1)
        try fold.apply(debezium("t", lsn: 100), epoch: 1)
        try fold.apply(debezium("c", after: #"{"id":2}"#, lsn: 7), epoch: 2)
        #expect(try rows(fold) == [#"{"id":2}"#])
    }

    @Test func aRowThatWasTakenIsNotLeft() throws {
        let fold = try makeFold()
        for id in 1...3 { try fold.apply(debezium("c", after: #"{"id":\#(id)}"#, lsn: id), epoch: 1) }
        #expect(try text(fold.take(fold.key(of: bytes(#"{"id":2}"#)))?.bytes) == #"{"id":2}"#)
        #expect(try fold.take(fold.key(of: bytes(#"{"id":4}"#))) == nil)
        #expect(try rows(fold) == [#"{"id":1}"#, #"{"id":3}"#])
        try fold.discard()
        #expect(try rows(fold) == [])
    }

    @Test func aRowIsReadBackAsItWasLaidOut() {
        var row = FoldedRow(row: bytes("{}"), place: .init(epoch: .max, lsn: 1 << 63, ordinal: 7))
        #expect(FoldedRow(row.bytes) == row)
        row.missing = .init(epoch: 1, lsn: 2, ordinal: 3)
        row.unchanged = [bytes("big"), [], bytes("é")]
        #expect(FoldedRow(row.bytes) == row)
        for end in 0..<row.bytes.count - row.row.count { #expect(FoldedRow(Array(row.bytes[..<end])) == nil) }
    }

    @Test func whatIsNoEnvelopeIsRefused() throws {
        let fold = try makeFold()
        for wrong in [bytes("{}"), bytes("not json"), debezium("c", after: #"{"v":1}"#, lsn: 1)] {
            let error = #expect(throws: TableFold.Failure.self) { try fold.apply(wrong, epoch: 1) }
            guard case .malformed = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
        }
    }

    private func difference(
        _ table: [String: String], _ records: [String: String], isTrimmed: Bool
    ) -> TableDifference {
        var difference = TableDifference(isTrimmed: isTrimmed)
        for (key, row) in table {
            difference.compare(bytes(key), bytes(row), with: records[key].map { .init(bytes: bytes($0)) })
        }
        for key in records.keys where table[key] == nil { difference.note(extra: bytes(key)) }
        return difference
    }

    @Test func eachKindOfDifferenceIsCounted() {
        let equal = difference(["1": #"{"id":1,"new":null}"#], ["1": #"{"id":1}"#], isTrimmed: false)
        #expect(equal.isEmpty, "a column that was added later is null")
        let all = difference(["1": #"{"a":1}"#, "2": "{}"], ["1": #"{"a":2}"#, "3": "{}"], isTrimmed: false)
        #expect(all.counts == [.changed: 1, .missing: 1, .extra: 1])
        #expect(difference(["2": "{}"], [:], isTrimmed: true).isEmpty)
    }

    /// A row that no record can hold is never equal to anything.
    @Test func aRowThatNoRecordCanHoldIsADifference() {
        var dead = TableDifference(isTrimmed: true)
        let why = ChangeDataError.unrepresentable(
            table: TableName(schema: "s", name: "t"), column: "v", why: .invalidUTF8, at: LSN(1))
        for _ in 1...3 { dead.note(unrepresentable: why) }
        #expect(dead.counts == [.unrepresentable: 3] && dead.description == "3 unrepresentable")
        let example = "unrepresentable: column \"v\": \(ValueFailure.invalidUTF8.rawValue)"
        #expect(dead.examples == [example, example])
    }

    /// The insert is gone, and an update since did not send the long value.
    @Test func aValueThatWasSentBeforeTheLogBeginsIsNoDifference() throws {
        func difference(_ n: Int, isTrimmed: Bool) throws -> TableDifference {
            let fold = try makeFold()
            try fold.apply(
                debezium("u", after: #"{"id":1,"big":"__debezium_unavailable_value","n":2}"#, lsn: 17), epoch: 1)
            try fold.apply(
                bytes(#"{"id":2,"n":2,"_op":"u","_lsn":17,"_commit_ts":"t","_xid":1,"_seq":2,"_unchanged":["big"]}"#),
                epoch: 1)
            var difference = TableDifference(isTrimmed: isTrimmed)
            for id in 1...2 {
                let row = bytes(#"{"id":\#(id),"big":"long","n":\#(n)}"#)
                let key = try fold.key(of: row)
                difference.compare(key, row, with: try fold.take(key))
            }
            return difference
        }
        #expect(try difference(2, isTrimmed: true).isEmpty)
        #expect(try difference(3, isTrimmed: true).counts == [.changed: 2])
        #expect(try difference(2, isTrimmed: false).counts == [.changed: 2])
    }
}

@Suite struct StoredOffsetsTests {
    @Test func whatLiesInNoObjectIsInNone() {
        func object(_ start: Int64, _ end: Int64, gap: String? = nil) -> StoredObject {
            let at = RecordPosition(position: EventPosition(epoch: 1, commitLSN: LSN(1), ordinal: 1), commitTime: 0)
            return StoredObject(
                start: start, end: end, records: 1, tombstones: 0, dropped: 0, firstPosition: at, lastPosition: at,
                mark: nil, watermark: nil, sha256: "", gap: gap)
        }
        var offsets = StoredOffsets()
        #expect(offsets.next == 0 && !offsets.takes(0))
        for each in [object(2, 5), object(7, 7), object(20, 30, gap: "10-14")] { offsets.add(each) }
        #expect(offsets.next == 31)
        let last = ResumeDecision.Last(
            key: "t/o", end: 30,
            lastPosition: RecordPosition(
                position: EventPosition(epoch: 1, commitLSN: LSN(1), ordinal: 1), commitTime: 0))
        #expect(offsets.hole(logStart: 31, nil) == nil && offsets.hole(logStart: 32, nil) != nil)
        #expect(offsets.hole(logStart: 32, SinkWord(readTo: 32, last: last)) == nil, "ends of transactions")
        #expect(
            StoredOffsets().hole(logStart: 0, SinkWord(readTo: 32, last: last))
                == "t/o was put, and is gone from the store")
        let held = (0...40).filter { offsets.takes($0) }
        #expect(held == Array(2...5) + [7] + Array(10...14) + Array(20...30))
    }
}

@Suite struct ObjectListingTests {
    private func listed(_ objects: (Int32, Int64)...) -> [(name: ObjectName, key: String)] {
        objects.map { (ObjectName(topic: "t", partition: $0, start: $1), "\($0)+\($1)") }
    }

    /// What is put between two pages may be listed without what was put before it.
    @Test func whatIsPutMeanwhileIsLeftOut() {
        let before = listed((0, 0), (1, 7), (0, 10)).map(\.name)
        let found = ObjectReader.steady(
            listed((1, 7), (0, 30), (0, 0), (2, 0), (0, 10), (1, 9)), seenBefore: before)
        #expect(found.map(\.key) == ["0+0", "0+10", "1+7"])
        // What the first listing missed, and the second has.
        let filled = ObjectReader.steady(
            listed((0, 0), (0, 10), (0, 20)), seenBefore: listed((0, 0), (0, 20)).map(\.name))
        #expect(filled.map(\.key) == ["0+0", "0+10", "0+20"])
    }
}
