import Testing

@testable import Configuration

@Suite struct CommandLineTests {
    private func parse(_ text: String) throws(UsageError) -> Command {
        try CommandParser.parse(text.split(separator: " ").map(String.init))
    }

    private func error(_ text: String) -> String {
        do throws(UsageError) {
            return "none: \(try parse(text))"
        } catch {
            return error.description
        }
    }

    @Test func commands() throws {
        #expect(try parse("init") == .initialize(config: nil, dryRun: false, acceptGap: false))
        #expect(
            try parse("init --dry-run --accept-gap -c x.yaml")
                == .initialize(config: "x.yaml", dryRun: true, acceptGap: true))
        #expect(try parse("check --config=x") == .check(config: "x"))
        #expect(try parse("run -cx --only stream") == .run(config: "x", purpose: .stream))
        #expect(try parse("run --only=sink") == .run(config: nil, purpose: .sink))
        #expect(try parse("run") == .run(config: nil, purpose: .both))
        #expect(try parse("status --json") == .status(config: nil, json: true))
        #expect(
            try parse("verify -t a.b --table c.*")
                == .verify(config: nil, tables: ["a.b", "c.*"].compactMap { ConfiguredTable($0) }, json: false))
        #expect(try parse("drop --dry-run") == .drop(config: nil, dryRun: true))
        #expect(try parse("--version") == .version)
        #expect(
            try parse("replay --from-lsn 16/B374D848 --to-lsn 17/0 --topic-prefix again.")
                == .replay(
                    config: nil,
                    .init(from: .lsn(0x16_B374_D848), to: .lsn(0x17_0000_0000), topicPrefix: "again.", dryRun: false))
        )
        #expect(
            try parse("replay --from-time 1970-01-02T00:00:00.5+01:00 --topic-prefix a")
                == .replay(config: nil, .init(from: .time(82_800_500_000), to: nil, topicPrefix: "a", dryRun: false)))
    }

    @Test(arguments: [
        ("", "sluice: no command; one of init, check, run, status, verify, replay, hours, drop\nTry 'sluice --help'."),
        (
            "rum",
            "sluice: unknown command rum; one of init, check, run, status, verify, replay, hours, drop (did you mean run?)\nTry 'sluice --help'."
        ),
        ("-c x run", "sluice: unknown option -c; options follow the command\nTry 'sluice --help'."),
        ("run --jsn", "sluice: run: unknown option --jsn\nTry 'sluice run --help'."),
        ("status --jsn", "sluice: status: unknown option --jsn (did you mean --json?)\nTry 'sluice status --help'."),
        ("run --only both", "sluice: run: --only: \"both\" is not stream or sink\nTry 'sluice run --help'."),
        ("run -x", "sluice: run: unknown option -x\nTry 'sluice run --help'."),
        ("run now", "sluice: run: unexpected argument now\nTry 'sluice run --help'."),
        ("run --", "sluice: run: unexpected argument --\nTry 'sluice run --help'."),
        ("run -c", "sluice: run: --config needs a value (FILE)\nTry 'sluice run --help'."),
        (
            "run -c --only",
            "sluice: run: --config needs a value, and --only is an option; write --config=--only if it is meant\nTry 'sluice run --help'."
        ),
        ("run -c a -c b", "sluice: run: --config given twice\nTry 'sluice run --help'."),
        ("status --json=1", "sluice: status: --json takes no value\nTry 'sluice status --help'."),
        ("check --config=", "sluice: check: --config needs a value that is not empty\nTry 'sluice check --help'."),
        ("replay --topic-prefix a", "sluice: replay: needs --from-lsn or --from-time\nTry 'sluice replay --help'."),
        (
            "replay --from-lsn 0/1",
            "sluice: replay: needs --topic-prefix, so that live topics are not written to\nTry 'sluice replay --help'."
        ),
        (
            "replay --from-lsn x",
            "sluice: replay: --from-lsn: \"x\" is not an LSN such as 16/B374D848\nTry 'sluice replay --help'."
        ),
        (
            "replay --from-lsn 2/0 --to-lsn 1/0 --topic-prefix a",
            "sluice: replay: --to-lsn must lie behind --from-lsn\nTry 'sluice replay --help'."
        ),
        (
            "replay --from-time 2026-01-02T00:00Z --to-time 2026-01-01T00:00Z --topic-prefix a",
            "sluice: replay: --to-time must lie behind --from-time\nTry 'sluice replay --help'."
        ),
        (
            "replay --from-lsn 1/0 --from-time 2026-01-01T00:00Z --topic-prefix a",
            "sluice: replay: takes --from-lsn or --from-time, not both\nTry 'sluice replay --help'."
        ),
        ("hours --last 0", "sluice: hours: --last: \"0\" is not a number from 1 to 100000\nTry 'sluice hours --help'."),
        (
            "hours --last 2 --hour 2026-11-25T19:00Z",
            "sluice: hours: takes --hour or --last, not both\nTry 'sluice hours --help'."
        ),
        ("verify --table x", "sluice: verify: --table: \"x\" is not schema.table\nTry 'sluice verify --help'."),
        (
            "help nothing",
            "sluice: unknown command nothing; one of init, check, run, status, verify, replay, hours, drop\nTry 'sluice --help'."
        ),
    ])
    func wrongUsage(line: String, expected: String) {
        #expect(error(line) == expected)
    }

    @Test func helpFitsTheTerminal() throws {
        for line in ["--help", "help"]
            + CommandGrammar.commands.flatMap({ ["\($0.name) --help", "help \($0.name)", "\($0.name) -h --whatever"] })
        {
            guard case .help(let text) = try parse(line) else {
                Issue.record("no help for \(line)")
                continue
            }
            #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 }, "\(text)")
            #expect(text.hasSuffix("\n") && !text.contains(" \n"))
        }
        guard case .help(let text) = try parse("run --help") else { return }
        #expect(
            text == """
                Usage: sluice run [-c FILE] [--only stream|sink]

                Streams and sinks until a signal. SIGTERM drains within limits.stop_timeout and
                exits 0; a second signal ends at once.

                Options:
                  -c, --config FILE  the configuration (default ./sluice.yaml, then
                                     /etc/sluice/sluice.yaml)
                      --only HALF    run one half: stream (database to Kafka) or sink (Kafka to
                                     S3)
                  -h, --help         show this text

                """)
    }

    @Test func times() {
        #expect(TimeText.parse("1970-01-01T00:00Z") == 0)
        #expect(TimeText.parse("2026-11-25T19:40:00.123456Z") == 1_795_635_600_123_456)
        #expect(TimeText.parse("2000-02-29 23:59:59-03") == 951_879_599_000_000)
        #expect(TimeText.parse("0001-01-01T00:00:00Z") == -62_135_596_800_000_000)
        for text in [
            "", "2026-11-25", "2026-11-25T19:40", "2025-02-29T00:00Z", "2026-13-01T00:00Z", "2026-1-01T00:00Z",
            "2026-11-25T24:00Z", "2026-11-25T19:40:60Z", "2026-11-25T19:40:00.Z", "2026-11-25T19:40Z ",
            "2026-11-25T19:40+25",
        ] {
            #expect(TimeText.parse(text) == nil, "\(text)")
        }
        for text in ["", "/", "0/", "0/123456789", "G/0", "0/0/0", "-1/0", "+1/0"] {
            #expect(LSNText.parse(text) == nil, "\(text)")
        }
    }
}
