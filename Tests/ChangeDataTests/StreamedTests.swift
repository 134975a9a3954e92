import ChangeData
import Testing

/// Protocol 2: what is told apart, what is refused, and that no bytes trap.
struct StreamedTests {
    /// Messages of protocol 2, from values.
    enum Streamed {
        static func start(_ xid: UInt32, first: Bool) -> [UInt8] { [0x53] + Build.number(xid) + [first ? 1 : 0] }
        static let stop: [UInt8] = [0x45]
        static func abort(_ xid: UInt32, _ part: UInt32) -> [UInt8] { [0x41] + Build.number(xid) + Build.number(part) }
        static func commit(_ xid: UInt32, _ commit: UInt64, end: UInt64) -> [UInt8] {
            [0x63] + Build.number(xid) + [0] + Build.number(commit) + Build.number(end) + Build.time(5_000_000)
        }
        static func numbered(_ message: Message, _ part: UInt32) -> [UInt8] {
            [message.bytes[0]] + Build.number(part) + message.bytes[1...]
        }
    }

    private let row = Build.insert(100, [.text("1"), .text("a"), .null])

    private func accept(
        _ transactions: inout StreamedTransactions, _ bytes: [UInt8]
    ) throws(ChangeDataError) -> StreamAction {
        try transactions.accept(bytes.span, at: LSN(7))
    }

    private func refusal(_ messages: [[UInt8]]) -> ChangeDataError? {
        var transactions = StreamedTransactions()
        do throws(ChangeDataError) {
            for message in messages { _ = try accept(&transactions, message) }
            return nil
        } catch { return error }
    }

    @Test func blocksInterleaveAndPartsAreForgotten() throws {
        var transactions = StreamedTransactions()
        #expect(try accept(&transactions, Streamed.start(1, first: true)) == .opened(transaction: 1))
        #expect(transactions.isInBlock)
        #expect(try accept(&transactions, Streamed.numbered(row, 1)) == .keep(transaction: 1, part: 1))
        #expect(try accept(&transactions, Streamed.stop) == .closed(transaction: 1))
        #expect(try accept(&transactions, Build.begin(9).bytes) == .pass)
        #expect(try accept(&transactions, row.bytes) == .pass)
        #expect(try accept(&transactions, Streamed.start(2, first: true)) == .opened(transaction: 2))
        #expect(try accept(&transactions, Streamed.numbered(row, 5)) == .keep(transaction: 2, part: 5))
        #expect(try accept(&transactions, Streamed.stop) == .closed(transaction: 2))
        #expect(try accept(&transactions, Streamed.start(1, first: false)) == .opened(transaction: 1))
        #expect(try accept(&transactions, Streamed.stop) == .closed(transaction: 1))
        #expect(try accept(&transactions, Streamed.abort(2, 5)) == .forget(transaction: 2, part: 5))
        #expect(try accept(&transactions, Streamed.abort(1, 3)) == .forget(transaction: 1, part: 3))
        #expect(transactions.openCount == 2 && transactions.forgotten == 2)
        #expect(try accept(&transactions, Streamed.abort(1, 1)) == .drop(transaction: 1))
        let commit = StreamCommit(xid: 2, commitLSN: LSN(900), endLSN: LSN(950), commitTime: 5_000_000)
        #expect(try accept(&transactions, Streamed.commit(2, 900, end: 950)) == .publish(commit, without: [5]))
        #expect(transactions.openCount == 0 && transactions.forgotten == 0)
    }

    @Test func theCommitMakesTheMessagesOfProtocol1() {
        let commit = StreamCommit(xid: 7, commitLSN: LSN(900), endLSN: LSN(950), commitTime: 1_700_000_000_123_456)
        #expect(commit.begin == Build.begin(900).bytes)
        #expect(commit.commit == Build.commit(900, end: 950).bytes)
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let first = Streamed.start(1, first: true)
        for messages in [
            [Streamed.start(1, first: false)], [first, Streamed.stop, first], [Streamed.stop], [first, first],
            [first, Streamed.commit(1, 900, end: 950)], [first, Streamed.abort(1, 1)], [first, Build.begin(9).bytes],
            [first, Build.commit(9, end: 10).bytes], [Streamed.commit(1, 900, end: 950)],
            [first, Streamed.stop, Streamed.commit(1, 900, end: 950), Streamed.start(1, first: false)],
        ] {
            let error = try #require(refusal(messages), "\(messages)")
            guard case .unexpected = error else {
                Issue.record("\(error)")
                continue
            }
            #expect(!error.description.isEmpty)
        }
        #expect(refusal([Streamed.abort(9, 9)]) == nil, "of what never came there is nothing to lose")
    }

    /// Those who act on what was told apart look at its first byte.
    @Test func aMessageOfNoByteIsMalformed() throws {
        for before in [[], [Streamed.start(1, first: true)]] {
            let error = try #require(refusal(before + [[]]))
            guard case .malformed(let fault, _) = error, fault.reason == .tooShort else {
                Issue.record("\(error)")
                continue
            }
        }
    }

    @Test func anOriginIsTold() throws {
        var transactions = StreamedTransactions()
        _ = try accept(&transactions, Streamed.start(1, first: true))
        #expect(try accept(&transactions, Build.origin(0, "elsewhere").bytes) == .origin(transaction: 1))
    }

    /// Every message of the recording, cut at every byte: an error, here or when it goes on to the encoder.
    @Test func everyMessageCutAnywhereIsMalformed() throws {
        var transactions = StreamedTransactions()
        var cuts = 0
        var seen: Set<UInt8> = []
        for message in try Fixtures.messages("pgoutput-15-streamed.ndjson.gz") {
            defer { _ = try? transactions.accept(message.bytes.span, at: message.lsn) }
            // Rows are alike: each kind a few times.
            guard seen.insert(message.bytes[0]).inserted || !"IUD".utf8.contains(message.bytes[0]) else { continue }
            for length in 0..<message.bytes.count {
                var copy = transactions
                let cut = Array(message.bytes[..<length])
                do throws(ChangeDataError) {
                    switch try copy.accept(cut.span, at: message.lsn) {
                    case .pass: #expect(!transactions.isInBlock)
                    case .keep:
                        let session = Session()
                        session.feed(Build.begin(1))
                        session.feed(Message(lsn: message.lsn, bytes: [cut[0]] + cut[5...]))
                        guard case .malformed? = session.errors.first else {
                            Issue.record("\(cut) gave \(session.errors)")
                            continue
                        }
                    case let other: Issue.record("\(cut) gave \(other)")
                    }
                } catch {
                    guard case .malformed(let fault, _) = error, fault.offset <= length else {
                        Issue.record("\(cut) gave \(error)")
                        continue
                    }
                }
                cuts += 1
            }
            var copy = transactions
            if "SEAc".utf8.contains(message.bytes[0]) {
                let longer = message.bytes + [0]
                #expect(throws: ChangeDataError.self) { try copy.accept(longer.span, at: message.lsn) }
            }
        }
        #expect(seen.count > 10 && cuts > 1000, "\(cuts)")
    }

    @Test func noiseNeverTraps() {
        var random = Seeded(#function)
        for _ in 0..<200 {
            var transactions = StreamedTransactions()
            for _ in 0..<200 {
                var bytes = (0..<Int.random(in: 0..<12, using: &random)).map { _ in
                    UInt8.random(in: 0...2, using: &random)
                }
                if !bytes.isEmpty, let kind = "SEcAIURMOBC".utf8.randomElement(using: &random) { bytes[0] = kind }
                _ = try? transactions.accept(bytes.span, at: LSN(1))
            }
            #expect(transactions.forgotten >= 0)
        }
    }

    // MARK: Which definition holds

    private func relation(_ oid: UInt32, _ name: String) -> [UInt8] { Build.relation(Build.table(oid, name)).bytes }

    @Test func anOlderDefinitionHoldsInsideItsTransactionOnly() {
        var order = RelationOrder()
        let streamed = order.arrived()
        order.applied(relation(100, "renamed").span)
        order.applied(relation(100, "first").span, arrival: streamed)
        #expect(order.outdated() == [relation(100, "renamed")])
        #expect(order.outdated() == [])
    }

    @Test func aNewerDefinitionOfATransactionStays() {
        var order = RelationOrder()
        order.applied(relation(100, "first").span)
        let streamed = order.arrived()
        order.applied(relation(100, "renamed").span, arrival: streamed)
        order.applied(relation(200, "other").span, arrival: order.arrived())
        #expect(order.outdated() == [])
    }

    @Test func ofTwoTransactionsTheLaterAnnouncementHolds() {
        var order = RelationOrder()
        let early = order.arrived()
        let late = order.arrived()
        order.applied(relation(100, "late").span, arrival: late)
        #expect(order.outdated() == [])
        order.applied(relation(100, "early").span, arrival: early)
        #expect(order.outdated() == [relation(100, "late")])
        order.applied([0x52, 0].span)
    }
}
