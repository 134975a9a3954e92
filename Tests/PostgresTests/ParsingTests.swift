import ChangeData
import Testing

@testable import Postgres

@Suite struct ConnectionSettingsTests {
    @Test func readsBothForms() throws {
        let uri = try ConnectionSettings(url: "postgresql://me:pa%2Fss@db.example:6543/gold?sslmode=disable")
        #expect(uri.description == "me@db.example:6543/gold")
        #expect(uri.keywords["password"] == "pa/ss")
        let pairs = try ConnectionSettings(url: "host=/run/pg dbname=gold user=me port=1", password: "x y'z")
        #expect(pairs.description == "me@/run/pg:1/gold")
        #expect(pairs.keywords["password"] == "x y'z")
    }

    /// Trap 62: what libpq would print as port, host or database is a piece of the password.
    @Test(arguments: [
        "postgresql://me:hunter/2@db/gold", "postgresql://me:12/hunter2@db/gold", "postgresql://me:hun@ter2@db/gold",
        "postgresql://me:hunter2@db:hunter2/gold", "host=db password='hunter2", "hunter2", "port=hunter2",
        "postgresql://me:hunter2@db/gold?nosuch=hunter2",
    ])
    func refusesWithoutQuotingTheString(_ url: String) {
        let error = failure { () throws(PostgresError) in _ = try ConnectionSettings(url: url) }
        #expect(error?.kind == .configuration)
        #expect(error?.description.contains("hunter") == false)
    }

    @Test func printsNoSecret() throws {
        let settings = try ConnectionSettings(url: "host=h user=u dbname=d password=hunter2")
        var text =
            "\(settings) " + String(reflecting: settings) + String(describing: Mirror(reflecting: settings).children)
        dump(settings, to: &text)
        #expect(!text.contains("hunter2"))
    }

    @Test func triesEachHostOfAList() throws {
        let settings = try ConnectionSettings(url: "host=a,b port=1,2 dbname=d keepalives_idle=7")
        let attempts = settings.attempts(applicationName: "x", replication: true)
        #expect(attempts.map { $0["host"] } == ["a", "b"])
        #expect(attempts.map { $0["port"] } == ["1", "2"])
        #expect(attempts.allSatisfy { $0["keepalives_idle"] == "7" && $0["keepalives_count"] == "3" })
        #expect(attempts.allSatisfy { $0["replication"] == "database" && $0["application_name"] == "x" })
    }

    @Test func ofAListTheServerThatAConnectionHasIsAskedAlone() throws {
        let settings = try ConnectionSettings(
            url: "host=a,b port=1,2 dbname=d target_session_attrs=read-write", password: "x")
        let own = settings.narrowed(host: "b", address: "10.0.0.2", port: "2")
        let attempts = own.attempts(applicationName: "x", replication: false)
        #expect(attempts.count == 1 && "\(own)".hasSuffix("@b:2/d"))
        let wanted = ["host": "b", "hostaddr": "10.0.0.2", "port": "2", "target_session_attrs": "any", "password": "x"]
        #expect(wanted.allSatisfy { attempts.first?[$0.key] == $0.value })
        let socket = try ConnectionSettings(url: "hostaddr=10.0.0.1,10.0.0.2 host=/a,/b")
        #expect(socket.narrowed(host: "/a", address: "", port: "5432").keywords["hostaddr"] == nil)
    }

    @Test func aCallersTextCannotTurnAnOrdinaryConnectionIntoReplication() throws {
        let settings = try ConnectionSettings(url: "host=a replication=database")
        #expect(settings.attempts(applicationName: "x", replication: false).first?["replication"] == nil)
    }
}

@Suite struct ErrorClassificationTests {
    @Test(arguments: [
        ("55006", Activity.slotCommand, PostgresError.Kind.slotInUse), ("57P01", .streaming, .shuttingDown),
        ("57P03", .connecting, .shuttingDown), ("42704", .slotCommand, .slotMissing), ("42704", .streaming, .undefined),
        ("28P01", .connecting, .permission), ("42501", .query, .permission), ("57014", .query, .cancelled),
        ("22021", .streaming, .untranslatable), ("22P05", .streaming, .untranslatable),
        ("22021", .query, .fatal), ("22P05", .query, .fatal),
        ("53300", .connecting, .transient), ("08006", .query, .transient), ("22003", .query, .fatal),
        ("54000", .streaming, .rowTooLarge), ("54000", .query, .fatal), ("XX000", .streaming, .fatal),
        ("55000", .slotCommand, .fatal), ("42710", .slotCommand, .duplicate), ("3D000", .connecting, .configuration),
    ])
    func bySQLState(_ state: String, _ activity: Activity, _ kind: PostgresError.Kind) {
        #expect(PostgresError.Kind(sqlState: state, during: activity, message: "", detail: nil) == kind)
    }

    @Test func aMessageOfMoreThanAGigabyteIsARowThatIsTooLarge() {
        let message = "invalid memory alloc request size 1200000013"
        #expect(
            PostgresError.Kind(sqlState: "XX000", during: .streaming, message: message, detail: nil) == .rowTooLarge)
    }

    @Test(
        arguments: [
            ("can no longer get changes from replication slot \"s\"", nil),
            ("cannot read from logical replication slot \"s\"", "This slot has been invalidated because ..."),
            (
                "can no longer access replication slot \"s\"",
                "This replication slot has been invalidated due to \"wal_removed\"."
            ),
        ] as [(String, String?)])
    func invalidated(_ message: String, _ detail: String?) {
        let kind = PostgresError.Kind(sqlState: "55000", during: .slotCommand, message: message, detail: detail)
        #expect(kind == .slotInvalidated)
    }

    @Test func takesTheStateOutOfAConnectionMessage() {
        var text = LibpqText(
            """
            connection to server at "127.0.0.1", port 5432 failed: FATAL:  28P01: password authentication failed for user "u"
            LOCATION:  auth_failed, auth.c:326

            """)
        #expect(text.sqlState == "28P01")
        #expect(
            text.message
                == #"connection to server at "127.0.0.1", port 5432 failed: FATAL: password authentication failed for user "u""#
        )
        text.redact("user")
        #expect(!text.message.contains("user"))
        #expect(LibpqText("FEHLER:  nicht: gut\n") == LibpqText("FEHLER:  nicht: gut"))
        #expect(LibpqText("").sqlState == nil)
    }
}

@Suite struct NameTests {
    @Test func quoting() {
        #expect(Quoting.identifier("a\"b") == "\"a\"\"b\"")
        #expect(Quoting.literal("it's") == "'it''s'")
        #expect(Quoting.publicationNames(["a", "B,\"c"]) == "\"a\",\"B,\"\"c\"")
        // A combining mark after a quote is one Character with it, and must not hide it.
        #expect(Quoting.literal("x'\u{301}") == "'x''\u{301}'")
    }

    @Test(arguments: [
        ("public.*_gold", "public", "a_gold", true), ("public.*_gold", "public", "a_gold_x", false),
        ("*.t?", "s", "t1", true), ("*.t?", "s", "t", false), ("s.a.b", "s", "a.b", true), ("s.T", "s", "t", false),
        ("p*.**a*b", "pub", "xaab", true), ("s.*", "s", "", true),
        ("s.é?", "s", "éa", true),
    ])
    func globs(_ text: String, _ schema: String, _ table: String, _ expected: Bool) {
        #expect(pattern(text).matches(schema: schema, table: table) == expected)
    }

    @Test func globsInEitherPart() {
        #expect(!pattern("a.b").isGlob && pattern("a?.b").isGlob && pattern("a.*").isGlob)
    }

    /// Would take exponential time if it were matched by recursion.
    @Test func aPatternForLikeMatchesNoLess() {
        #expect(TablePattern.like("a*b?c") == "a%b%c")
        #expect(TablePattern.like("**?x") == "%x")
        #expect(TablePattern.like("a_b%c\\d*") == "a\\_b\\%c\\\\d%")
        #expect(TablePattern.like("100%*") == "100\\%%")
        #expect(TablePattern.like("größe\u{0}") == "gr%e%")
        #expect(TablePattern.like("'\"; $1") == "'\"; $1")
    }

    @Test func manyStars() {
        let pattern = TablePattern(schema: "s", table: String(repeating: "*a", count: 40) + "b")
        #expect(!pattern.matches(schema: "s", table: String(repeating: "a", count: 2000)))
    }

    @Test func timelineHistory() {
        let text = "1\t0/3000098\tno recovery target specified\n\n# a comment\n2\t16/B374D848\tbefore 2000-01-01\n"
        let expected = [
            TimelineSwitch(timeline: 1, endLSN: LSN(0x300_0098)),
            TimelineSwitch(timeline: 2, endLSN: LSN(0x16_B374_D848)),
        ]
        #expect(TimelineSwitch.parse(text) == expected)
        #expect(TimelineSwitch.parse("x\t0/1") == nil && TimelineSwitch.parse("1") == nil)
    }
}

@Suite struct FrameTests {
    private func header(_ bytes: [UInt8]) -> Result<ReplicationFrame.Header, PostgresError> {
        Result { () throws(PostgresError) in try ReplicationFrame.Header(bytes.span) }
    }

    @Test func headers() {
        let one: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 1]
        let wal = [UInt8(ascii: "w")] + [0, 0, 0, 0x16, 0xB3, 0x74, 0xD8, 0x48] + one + one + [42]
        #expect(
            header(wal) == .success(.walData(start: LSN(0x16_B374_D848), serverTime: 946_684_800_000_001)))
        let alive = [UInt8(ascii: "k")] + one + one + [1]
        #expect(
            header(alive)
                == .success(.keepalive(walEnd: LSN(1), serverTime: 946_684_800_000_001, replyRequested: true)))
        for bad in [[], [UInt8(ascii: "w")], Array(wal.prefix(24)), Array(alive.dropLast()), alive + [0], [0] + alive] {
            #expect(throws: PostgresError.self) { try header(bad).get() }
        }
    }

    @Test func status() {
        let status = StandbyStatus(
            written: LSN(0x0102_0304_0506_0708), flushed: LSN(2), applied: LSN(3), time: 946_684_800_000_005,
            replyRequested: true)
        let expected: [UInt8] =
            [UInt8(ascii: "r"), 1, 2, 3, 4, 5, 6, 7, 8] + [0, 0, 0, 0, 0, 0, 0, 2] + [0, 0, 0, 0, 0, 0, 0, 3]
            + [0, 0, 0, 0, 0, 0, 0, 5, 1]
        #expect(status.bytes == expected)
    }
}

@Suite struct ReceivePacingTests {
    /// A wait that looked at the socket for so long.
    private func wait(_ pacing: inout ReceivePacing, took: Int, _ nanoseconds: UInt64, _ readable: Bool = true)
        -> UInt64
    {
        pacing.took(took)
        let pause = pacing.begin()
        pacing.end(nanoseconds: nanoseconds, readable: readable)
        return pause
    }

    @Test func aSmallTransactionAfterASilenceIsNeverDelayed() {
        var pacing = ReceivePacing(pauseNanoseconds: 7)
        for _ in 0..<10 {
            #expect(wait(&pacing, took: 0, 50_000_000) == 0)
            for _ in 0..<3 { #expect(wait(&pacing, took: 200, 20_000) == 0) }
        }
    }

    @Test func aBusyStreamPauses() {
        var pacing = ReceivePacing(pauseNanoseconds: 7)
        for _ in 0..<ReceivePacing.busyAfter { #expect(wait(&pacing, took: 200, 5_000) == 0) }
        for _ in 0..<100 { #expect(wait(&pacing, took: 30_000, 0) == 7) }
    }

    @Test func aReaderThatIsBehindDoesNot() {
        var pacing = ReceivePacing(pauseNanoseconds: 7)
        for _ in 0..<10 { #expect(wait(&pacing, took: ReceivePacing.plenty, 0) == 0) }
        #expect(wait(&pacing, took: 1, 0) == 7)
    }

    @Test func aSocketThatHoldsMoreIsLeftAloneForLonger() {
        #expect(ReceivePacing.pauseNanoseconds(unixSocketBuffer: 212_992) == 149_000)
        #expect(ReceivePacing.pauseNanoseconds(unixSocketBuffer: 1_048_576) == 738_000)
        #expect(ReceivePacing.pauseNanoseconds(unixSocketBuffer: 4_194_304) == ReceivePacing.longestPause)
        #expect(ReceivePacing.pauseNanoseconds(unixSocketBuffer: 4_608) == 50_000)
        #expect(ReceivePacing.pauseNanoseconds(unixSocketBuffer: -1) == 50_000)
    }

    @Test func silenceEndsIt() {
        var pacing = ReceivePacing(pauseNanoseconds: 7)
        for _ in 0..<10 { _ = wait(&pacing, took: 200, 0) }
        #expect(wait(&pacing, took: 200, 2_000_000) == 7)
        #expect(wait(&pacing, took: 200, 0) == 0)
        for _ in 0..<10 { _ = wait(&pacing, took: 200, 0) }
        #expect(wait(&pacing, took: 0, 500, false) == 7)
        #expect(wait(&pacing, took: 0, 0) == 0)
    }
}

/// The pattern of a text, split at its first dot.
func pattern(_ text: String) -> TablePattern {
    let parts = text.split(separator: ".", maxSplits: 1).map(String.init)
    return TablePattern(schema: parts[0], table: parts[1])
}
