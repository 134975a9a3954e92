import ChangeData
import Testing

/// The state machine: counting, discarding, skipping, keys, and what may stand where.
struct EncoderTests {
    static func row(_ id: Int, _ v: String = "x") -> [Build.Value] { [.text("\(id)"), .text(v), .null] }

    static func feed(_ session: Session, _ messages: [Message]) -> [Output] {
        messages.flatMap { session.feed($0) }
    }

    @Test func changesAreCountedBeforeAnyFilter() {
        let session = Session { relation in
            TableDescription(primaryKey: ["id"], isIgnored: relation.table.name == "ignored")
        }
        let outputs = Self.feed(
            session,
            [
                Build.begin(1000), Build.relation(Build.table()), Build.relation(Build.table(200, "ignored")),
                Build.insert(100, Self.row(1)), Build.insert(200, Self.row(1)),
                Build.content("p", [1], isTransactional: true), Build.truncate([200, 100]),
                Build.insert(100, Self.row(2)),
                Build.commit(1000, end: 1100),
            ])
        #expect(session.errors.isEmpty)
        #expect(outputs.map(\.position) == [1, 3, 5, 6].map { "1/0/3E8/\($0)/1700000000123456" })
        #expect(outputs.map(\.operation) == [.create, .message, .truncate, .create])
        #expect(session.chunk.records[2].partition == 0 && session.chunk.records[0].partition == nil)
        let whole = Transaction(
            xid: 7, commitLSN: LSN(1000), endLSN: LSN(1100), commitTime: 1_700_000_000_123_456, changes: 6,
            clock: 1_700_000_000_123_456)
        #expect(session.chunk.boundaries == [RecordChunk.Boundary(recordCount: 4, transaction: whole)])
        #expect(session.steps.last == .committed(whole, discarded: false))
        #expect(session.encoder.tables.map(\.name) == ["t"])
        #expect(session.encoder.topics == ["golden.public.t", "golden.message"])
    }

    /// A partition is announced beside its root, and no row comes under its name: a topic of its own would stay empty.
    @Test func aTableWithoutARowHasNoTopic() {
        let session = Session()
        _ = Self.feed(
            session,
            [
                Build.begin(1000), Build.relation(Build.table(100, "leaf")), Build.relation(Build.table(200, "root")),
                Build.insert(200, Self.row(1)), Build.commit(1000, end: 1100),
            ])
        #expect(session.errors.isEmpty && session.encoder.topics == ["golden.public.root"])
        #expect(session.encoder.tables.map(\.name) == ["root"] && session.chunk.records[0].topic == 0)
    }

    /// As of a partition whose rows come as its root's: one that comes by itself is not passed over in silence.
    @Test func theFirstRowOfOneThatNoneIsExpectedOfIsTold() {
        let session = Session { relation in
            let isPartition = relation.table.name == "partition"
            return TableDescription(
                primaryKey: ["id"], isIgnored: relation.table.name != "t", isTold: isPartition)
        }
        _ = Self.feed(
            session,
            [
                Build.begin(1), Build.relation(Build.table(1, "partition")), Build.relation(Build.table(2, "other")),
                Build.insert(2, Self.row(1)), Build.insert(1, Self.row(1)), Build.insert(1, Self.row(2)),
                Build.relation(Build.table(1, "partition")), Build.insert(1, Self.row(3)), Build.commit(1, end: 2),
            ])
        #expect(session.errors.isEmpty && session.chunk.records.isEmpty)
        let told = session.steps.filter { $0 == .passedOver(TableName(schema: "public", name: "partition")) }
        // Announced anew, it is as if it were seen for the first time.
        #expect(told.count == 2)
    }

    /// A job that makes its table anew each time, and one that makes others that nobody wants.
    @Test func tablesThatAreMadeAnewTakeNoMoreRoom() {
        let session = Session { relation in
            TableDescription(primaryKey: ["id"], isIgnored: relation.table.name.hasPrefix("staging"))
        }
        for oid in UInt32(1000)..<1100 {
            let staging = oid + 1000
            _ = Self.feed(
                session,
                [
                    Build.begin(UInt64(oid)), Build.relation(Build.table(oid)),
                    Build.relation(Build.table(staging, "staging_\(oid)")), Build.insert(staging, Self.row(1)),
                    Build.insert(oid, Self.row(1)), Build.commit(UInt64(oid), end: UInt64(oid) + 1),
                ])
        }
        #expect(session.errors.isEmpty && session.chunk.records.count == 100)
        #expect(session.encoder.plannedTables == 1 && session.encoder.tables.count == 1)
        // The one that is gone is not known any more; its rows would be announced again.
        _ = Self.feed(session, [Build.begin(5000), Build.insert(1000, Self.row(2))])
        guard case .undefined(1000, _) = session.errors.first else {
            Issue.record("\(session.errors)")
            return
        }
    }

    @Test func transactionsBeforeTheStoredPositionAreDiscarded() {
        let session = Session(resumingAt: LSN(1100))
        let outputs = Self.feed(
            session,
            [
                Build.begin(1000), Build.relation(Build.table()), Build.insert(100, Self.row(1)),
                // A message that comes again is the last before what follows, for `sequence` too.
                Build.commit(1000, end: 1080), Build.content("p", [], isTransactional: false, at: 1100),
                // A transaction whose commit record begins at the stored end is the next one.
                Build.begin(1100), Build.insert(100, Self.row(2)), Build.commit(1100, end: 1200),
            ])
        #expect(session.errors.isEmpty)
        #expect(outputs.map(\.key) == ["{\"id\":2}"])
        #expect(session.chunk.boundaries.map(\.transaction.endLSN) == [LSN(1200)])
        #expect(outputs[0].value?.contains(#""sequence":"[\"1100\",\"500\"]""#) == true)
    }

    @Test func splitTransactionResumesInTheMiddle() {
        let session = Session(
            resumingAt: LSN(900), skipping: EventPosition(epoch: 1, commitLSN: LSN(1000), ordinal: 2))
        var messages = [Build.begin(1000), Build.relation(Build.table())]
        messages += (1...4).map { Build.insert(100, Self.row($0)) }
        messages += [Build.commit(1000, end: 1100), Build.begin(1200), Build.insert(100, Self.row(5))]
        let outputs = Self.feed(session, messages)
        #expect(outputs.map(\.position).map { $0.split(separator: "/")[3] } == ["3", "4", "1"])
        #expect(session.encoder.position == EventPosition(epoch: 1, commitLSN: LSN(1200), ordinal: 1))
        let isInTransaction = session.encoder.isInTransaction
        #expect(isInTransaction)
    }

    @Test func changedKeyIsADeleteATombstoneAndACreate() {
        let session = Session()
        let outputs = Self.feed(
            session,
            [
                Build.begin(1000), Build.relation(Build.table()),
                Build.update(100, Self.row(2), key: [.text("1"), .null, .null]), Build.insert(100, Self.row(3)),
            ])
        #expect(outputs.map(\.operation) == [.delete, .tombstone, .create, .create])
        #expect(outputs.map(\.key) == [#"{"id":1}"#, #"{"id":1}"#, #"{"id":2}"#, #"{"id":3}"#])
        #expect(outputs.map(\.link) == [#"{"id":2}"#, #"{"id":2}"#, #"{"id":1}"#, nil])
        #expect(outputs.map(\.linkName) == ["__debezium.newkey", "__debezium.newkey", "__debezium.oldkey", nil])
        // One change, one ordinal; the next has the next.
        #expect(outputs.map { $0.position.split(separator: "/")[3] } == ["1", "1", "1", "2"])
        #expect(outputs[2].value?.hasPrefix(#"{"before":null,"after":{"id":2"#) == true)
    }

    @Test func tombstonesCanBeOff() {
        var format = EventFormat.test
        format.tombstones = false
        let session = Session(format)
        let outputs = Self.feed(
            session,
            [Build.begin(1000), Build.relation(Build.table()), Build.delete(100, key: [.text("1"), .null, .null])])
        #expect(outputs.map(\.operation) == [.delete])
    }

    @Test func messageOutsideTransactionsIsItsOwnBoundary() {
        let session = Session(resumingAt: LSN(500))
        let outputs = Self.feed(session, [Build.content("é", [0, 255], isTransactional: false, at: 777)])
        #expect(outputs.map(\.key) == [#"{"prefix":"é"}"#])
        // No transaction was seen: the time is that of arrival.
        #expect(outputs[0].position == "1/0/309/0/1700000000123456")
        #expect(outputs[0].value?.contains(#""txId":null,"lsn":777"#) == true)
        #expect(outputs[0].value?.hasSuffix(#""message":{"prefix":"é","content":"AP8="}}"#) == true)
        #expect(session.chunk.boundaries.map(\.transaction.endLSN) == [LSN(777)])
        #expect(session.chunk.boundaries.map(\.recordCount) == [1])
    }

    /// Its hour is by the source's clock, also where it is the first that a session reads.
    @Test func aMessageIsDatedByWhatIsKnownOfTheSourcesClock() {
        let session = Session(resumingAt: LSN(500), committedAt: 1_600_000_000_000_000)
        let outputs = Self.feed(
            session,
            [
                Build.content("p", [], isTransactional: false, at: 777), Build.begin(1000),
                Build.commit(1000, end: 1100),
                Build.content("p", [], isTransactional: false, at: 1200),
            ])
        #expect(
            outputs.map(\.position) == ["1/0/309/0/1600000000000000", "1/0/4B0/0/1700000000123456"])
        session.encoder.passes(1_800_000_000_000_000)
        session.encoder.passes(1_750_000_000_000_000)
        let later = session.feed(Build.content("p", [], isTransactional: false, at: 1300))
        #expect(later.map(\.position) == ["1/0/514/0/1800000000000000"])
    }

    /// A client dates the commits of a replication origin, and a server's clock may be wrong for a while: hours are sealed by what a
    /// transaction says of the clock, so that it must not be ahead of what has come.
    @Test func theClockIsNotWhatAnOriginOrAWrongClockSays() {
        let session = Session(resumingAt: LSN(500), committedAt: 1_600_000_000_000_000)
        let now: Int64 = 1_700_000_000_123_456  // when all of it arrives
        var lsn: UInt64 = 1000
        func clock(at time: Int64, by origin: String? = nil) -> Int64? {
            lsn += 100
            session.feed(Build.begin(lsn, time: time))
            if let origin { session.feed(Build.origin(7, origin)) }
            session.feed(Build.commit(lsn, end: lsn + 50, time: time))
            return session.chunk.boundaries.last?.transaction.clock
        }
        #expect(clock(at: now - 5) == now - 5)
        #expect(clock(at: now + 1_000_000) == now, "a clock that is a little ahead of ours")
        #expect(clock(at: now + 3_600_000_000) == 0)
        #expect(clock(at: now - 7, by: "o") == 0)
        #expect(clock(at: now + 7, by: "o") == 0)
        #expect(session.errors.isEmpty)
        // Neither is a message dated by them.
        let message = session.feed(Build.content("p", [], isTransactional: false, at: 5000))
        #expect(message.map(\.position) == ["1/0/1388/0/1700000000123456"])
    }

    @Test func messagesOutOfOrderAreErrors() {
        let wrong: [[Message]] = [
            [Build.insert(100, Self.row(1))], [Build.commit(1, end: 2)], [Build.origin(1, "o")],
            [Build.truncate([100])], [Build.truncate([])], [Build.content("p", [], isTransactional: true)],
            [Build.begin(1), Build.begin(2)], [Build.begin(1), Build.commit(2, end: 3)],
            [Build.begin(1), Build.commit(1, end: 1)],
            [Build.begin(1), Build.content("p", [], isTransactional: false)],
        ]
        for messages in wrong {
            let session = Session()
            #expect(Self.feed(session, messages).isEmpty)
            guard case .unexpected = session.errors.first else {
                Issue.record("\(messages) gave \(session.errors)")
                continue
            }
        }
    }

    @Test(arguments: Array("SEcAbPKrp?".utf8))
    func laterProtocolsAreRefused(_ kind: UInt8) {
        let session = Session()
        session.feed(Message(lsn: LSN(9), bytes: [kind, 0, 0, 0, 1]))
        #expect(session.errors == [.unsupported(message: kind, at: LSN(9))])
        #expect(session.errors[0].description.contains("proto_version 1"))
    }

    @Test func rowOfARelationThatWasNotDescribedIsAnError() throws {
        var encoder = ChangeEncoder(format: .test, resumingAt: LSN(0))
        let chunk = RecordChunk(capacity: 100)
        func consume(_ message: Message) throws -> Step {
            try encoder.consume(message.bytes.span, at: message.lsn, receivedAt: 0, into: chunk)
        }
        _ = try consume(Build.begin(1000))
        let table = Build.table()
        #expect(try consume(Build.relation(table)) == .describe(table))
        #expect(throws: ChangeDataError.undefined(relation: 100, at: LSN(500))) {
            try consume(Build.insert(100, Self.row(1)))
        }
        try encoder.define(table, as: TableDescription(primaryKey: ["id"]))
        #expect(try consume(Build.insert(100, Self.row(1))) == .changed(records: 1))
        // Announced again: the old description no longer holds.
        _ = try consume(Build.relation(table))
        #expect(throws: ChangeDataError.undefined(relation: 100, at: LSN(500))) {
            try consume(Build.insert(100, Self.row(1)))
        }
        #expect(throws: ChangeDataError.undefined(relation: 100, at: LSN(500))) { try consume(Build.truncate([100])) }
    }

    @Test func otherNumberOfColumnsStops() {
        let session = Session()
        let outputs = Self.feed(
            session,
            [
                Build.begin(1000), Build.relation(Build.table()), Build.insert(100, Self.row(1) + [.null]),
                Build.insert(100, [.text("1")]), Build.delete(100, key: [.text("1")]),
                Build.update(100, Self.row(1), key: [.text("1")]),
            ])
        #expect(outputs.isEmpty)
        #expect(session.errors.count == 4)
        for error in session.errors {
            guard case .malformed(let fault, _) = error, fault.reason == .columnCount else {
                Issue.record("\(error)")
                continue
            }
        }
    }

    @Test func rowThatCannotBeRepresentedLeavesNothingBehind() {
        let session = Session()
        let outputs = Self.feed(
            session,
            [
                Build.begin(1000), Build.relation(Build.table()),
                Build.insert(100, [.text("1"), .bytes([0x61, 0xFF]), .null]),
                Build.insert(100, [.text("x"), .null, .null]),
                Build.insert(100, [.binary([0, 0, 0, 1]), .null, .null]),
                Build.insert(100, [.unchanged, .null, .null]), Build.delete(100, key: [.null, .null, .null]),
                Build.insert(100, Self.row(5)),
            ])
        let table = TableName(schema: "public", name: "t")
        #expect(
            session.errors == [
                .unrepresentable(table: table, column: "v", why: .invalidUTF8, at: LSN(500)),
                .unrepresentable(table: table, column: "id", why: .invalidText, at: LSN(500)),
                .unrepresentable(table: table, column: "id", why: .binary, at: LSN(500)),
                .unrepresentable(table: table, column: "id", why: .unchangedKey, at: LSN(500)),
                .unrepresentable(table: table, column: "id", why: .nullKey, at: LSN(500)),
            ])
        // The stream may go on behind it, and the change was counted.
        #expect(outputs.map(\.key) == [#"{"id":5}"#])
        #expect(outputs[0].position.split(separator: "/")[3] == "6")
        #expect(session.chunk.recordCount == 1)
    }

    @Test func rowThatCannotBeRepresentedIsSetAsideWhereATopicTakesIt() {
        for envelope in [EventFormat.Envelope.debezium, .flat] {
            var format = EventFormat.test
            format.envelope = envelope
            format.deadLetterTopic = "dead"
            let session = Session(format)
            let outputs = Self.feed(
                session,
                [
                    Build.begin(1000), Build.relation(Build.table()), Build.insert(100, Self.row(1)),
                    Build.insert(100, [.text("2"), .bytes([0x61, 0xFF]), .unchanged]),
                    Build.insert(100, [.binary([0, 0, 0, 1]), .text("\"\n"), .null]),
                    Build.delete(100, key: [.null, .null, .text("7")]), Build.insert(100, Self.row(5)),
                ])
            #expect(session.errors.isEmpty)
            #expect(outputs.map(\.operation) == [.create, .deadLetter, .deadLetter, .deadLetter, .create])
            #expect(outputs.map { $0.topic == "dead" } == [false, true, true, true, false])
            let dead = outputs[1...3]
            #expect(dead.allSatisfy { $0.key == #"{"schema":"public","table":"t"}"# && $0.link == nil })
            // The same positions as events would have had.
            #expect(outputs.map { $0.position.split(separator: "/")[3] } == ["1", "2", "3", "4", "5"])
            let head = #"{"schema":"public","table":"t","op":"#
            let why = "row of public.t at LSN 0/1F4 cannot be represented: column "
            let place = #""lsn":"0/1F4","commit_lsn":"0/3E8","ordinal":"#
            let time = #","xid":7,"commit_ts":"2023-11-14T22:13:20.123456Z""#
            let utf8 = ValueFailure.invalidUTF8.rawValue
            #expect(
                dead[1].value == head + #""c","column":"v","reason":"\#(why)\"v\": \#(utf8)",\#(place)2\#(time)"#
                    + #","before":null,"after":{"id":"2","v":{"base64":"Yf8="},"w":{"unchanged":true}}}"#)
            #expect(
                dead[2].value?.hasSuffix(
                    #","before":null,"after":{"id":{"base64":"AAAAAQ=="},"v":"\"\n","w":null}}"#) == true)
            // Of an old row that holds a key alone, nothing is known to be null; and it may be another key than the root's.
            #expect(dead[3].value?.hasSuffix(#","before":{"w":"7"},"after":null}"#) == true)
            #expect(session.steps.filter { if case .setAside = $0 { true } else { false } }.count == 3)
        }
    }

    @Test func rowWithoutKeyIsSetAsideAndNotTwice() {
        var format = EventFormat.test
        format.deadLetterTopic = "dead"
        let messages = [
            Build.begin(1000), Build.relation(Build.table(100, "t", identity: .nothing)),
            Build.insert(100, Self.row(1)), Build.insert(100, Self.row(2)),
        ]
        let session = Session(format) { _ in TableDescription(primaryKey: []) }
        let outputs = Self.feed(session, messages)
        #expect(outputs.map(\.operation) == [.deadLetter, .deadLetter])
        #expect(
            outputs[0].value?.contains(#""op":"c","column":null,"reason":"row of public.t at LSN 0/1F4 has no key: "#)
                == true)
        // What Kafka has of a split transaction is counted, not written again.
        let again = Session(format, skipping: EventPosition(epoch: 1, commitLSN: LSN(1000), ordinal: 1)) { _ in
            TableDescription(primaryKey: [])
        }
        #expect(Self.feed(again, messages) == [outputs[1]])
    }

    @Test func noTableMayHaveTheTopicOfDeadLetters() {
        var format = EventFormat.test
        format.deadLetterTopic = "golden_public.t"
        let session = Session(format)
        _ = Self.feed(session, [Build.begin(1000), Build.relation(Build.table()), Build.insert(100, Self.row(1))])
        guard case .topic(.collision(_, _, let other)) = session.errors.first else {
            Issue.record("\(session.errors)")
            return
        }
        #expect(other.name == "(dead letters)")
        #expect(throws: TopicError.self) {
            try checkTopics(format, tables: [TableName(schema: "public", name: "t")])
        }
    }

    @Test func tablesWithoutKeyAreNamedWithTheWayOut() {
        for identity in [Relation.ReplicaIdentity.full, .nothing] {
            let session = Session { _ in TableDescription(primaryKey: []) }
            _ = Self.feed(
                session,
                [
                    Build.begin(1000), Build.relation(Build.table(100, "we\"ird", identity: identity)),
                    Build.truncate([100]), Build.insert(100, Self.row(1)),
                ])
            let table = TableName(schema: "public", name: "we\"ird")
            #expect(session.errors == [.noKey(table: table, identity: identity, at: LSN(500))])
            #expect(session.errors[0].description.contains(#"ALTER TABLE "public"."we""ird" ADD PRIMARY KEY"#))
            #expect(session.errors[0].description.contains("0/1F4"))
            // A truncate needs no key.
            #expect(session.chunk.recordCount == 1)
        }
    }

    @Test func originIsInTheSource() {
        let session = Session()
        let outputs = Self.feed(
            session,
            [
                Build.begin(1000), Build.origin(0xABCDEF, "other \"one\""), Build.relation(Build.table()),
                Build.insert(100, Self.row(1)),
            ])
        #expect(outputs[0].value?.contains(#""origin":"other \"one\"","origin_lsn":11259375}"#) == true)
    }

    @Test func keysAreInTheOrderOfTheIndexWhereItIsTheSame() {
        var table = Build.table()
        table.columns[2].isKey = true
        let orders: [([String], String)] = [
            (["w", "id"], #"{"w":2,"id":1}"#), (["id", "w"], #"{"id":1,"w":2}"#),
            // The catalog is ahead: what the relation says holds, in table order.
            (["id"], #"{"id":1,"w":2}"#), (["v"], #"{"id":1,"w":2}"#), (["w", "gone"], #"{"id":1,"w":2}"#),
        ]
        for (order, key) in orders {
            let session = Session { _ in TableDescription(primaryKey: order) }
            let outputs = Self.feed(
                session,
                [
                    Build.begin(1), Build.relation(table), Build.insert(100, [.text("1"), .null, .text("2")]),
                ])
            #expect(outputs.map(\.key) == [key])
        }
    }

    @Test func fullTakesThePrimaryKeyAndFillsUnchangedValues() {
        let session = Session { _ in TableDescription(primaryKey: ["id"]) }
        let old: [Build.Value] = [.text("1"), .text("big"), .text("1")]
        let outputs = Self.feed(
            session,
            [
                Build.begin(1), Build.relation(Build.table(identity: .full)),
                Build.update(100, [.text("1"), .unchanged, .text("2")], old: old),
                Build.update(100, [.text("3"), .unchanged, .text("2")], old: old),
            ])
        #expect(
            outputs[0].value?.hasPrefix(#"{"before":{"id":1,"v":"big","w":1},"after":{"id":1,"v":"big","w":2}"#) == true
        )
        #expect(outputs.map(\.operation) == [.update, .delete, .tombstone, .create])
        #expect(outputs[1].value?.hasPrefix(#"{"before":{"id":1,"v":"big","w":1},"after":null"#) == true)
    }
}
