/// One option of a command.
struct OptionSpecification: Sendable {
    /// Without dashes: `from-lsn`.
    let name: String
    /// One letter: `c`.
    let short: Character?
    /// What its value is called in the help; nil for a flag.
    let value: String?
    let help: String
    var repeats = false
}

/// One command: its help and its parser are made from this.
struct CommandSpecification: Sendable {
    let name: String
    let summary: String
    let details: String
    let usage: String
    let options: [OptionSpecification]
    let build: @Sendable (ParsedOptions) throws(UsageError) -> Command
}

/// The values that were given, by the option's name.
struct ParsedOptions {
    let command: String
    var values: [String: [String]] = [:]

    func has(_ name: String) -> Bool { values[name] != nil }
    func value(_ name: String) -> String? { values[name]?.last }

    func parsed<Value>(_ name: String, allowed: String, _ parse: (String) -> Value?) throws(UsageError) -> Value? {
        guard let text = value(name) else { return nil }
        guard let value = parse(text) else { throw error("--\(name): \"\(text)\" is not \(allowed)") }
        return value
    }

    func error(_ message: String) -> UsageError {
        UsageError(message: "\(command): \(message)", hint: "sluice \(command) --help")
    }
}

enum CommandGrammar {
    static let config = OptionSpecification(
        name: "config", short: "c", value: "FILE",
        help: "the configuration (default ./sluice.yaml, then /etc/sluice/sluice.yaml)")
    static let help = OptionSpecification(name: "help", short: "h", value: nil, help: "show this text")
    static let json = OptionSpecification(name: "json", short: nil, value: nil, help: "print JSON instead of a table")

    static let commands: [CommandSpecification] = [
        CommandSpecification(
            name: "init", summary: "create topics, publication and slot",
            details:
                "Creates topics, publication and slot, and says, with row counts, which existing rows will not be sent. Safe to run again: what exists is left as it is.",
            usage: "sluice init [-c FILE] [--dry-run] [--accept-gap]",
            options: [
                config,
                OptionSpecification(
                    name: "dry-run", short: nil, value: nil, help: "print the SQL and the topics, change nothing"),
                OptionSpecification(
                    name: "accept-gap", short: nil, value: nil,
                    help: "after a loss, or another number of partitions: print it, record it, and go on behind it"),
            ],
            build: {
                .initialize(config: $0.value("config"), dryRun: $0.has("dry-run"), acceptGap: $0.has("accept-gap"))
            }),
        CommandSpecification(
            name: "check", summary: "say whether all that is needed is there",
            details:
                "Asks the database, the brokers and the store whether all that is needed exists and may be used, and prints the fix for what is not. Exit code 0 or 1.",
            usage: "sluice check [-c FILE]", options: [config], build: { .check(config: $0.value("config")) }),
        CommandSpecification(
            name: "run", summary: "stream changes to Kafka and objects to S3",
            details:
                "Streams and sinks until a signal. SIGTERM drains within limits.stop_timeout and exits 0; a second signal ends at once.",
            usage: "sluice run [-c FILE] [--only stream|sink]",
            options: [
                config,
                OptionSpecification(
                    name: "only", short: nil, value: "HALF",
                    help: "run one half: stream (database to Kafka) or sink (Kafka to S3)"),
            ],
            build: { options throws(UsageError) in
                let half = try options.parsed("only", allowed: "stream or sink") { text -> Configuration.Purpose? in
                    ["stream", "sink"].contains(text) ? Configuration.Purpose(rawValue: text) : nil
                }
                return .run(config: options.value("config"), purpose: half ?? .both)
            }),
        CommandSpecification(
            name: "status", summary: "show how far a running agent is",
            details:
                "Asks the running agent of this configuration, at its http address, for its LSN ladder: where the server is, and how far receiving, storing and confirming have got.",
            usage: "sluice status [-c FILE] [--json]", options: [config, json],
            build: { .status(config: $0.value("config"), json: $0.has("json")) }),
        CommandSpecification(
            name: "verify", summary: "compare tables with topics and objects",
            details:
                "Compares each table, as of one LSN, with what Kafka and S3 say it is, and prints the differences. Exit code 0: equal; 1: different.",
            usage: "sluice verify [-c FILE] [--table SCHEMA.TABLE]... [--json]",
            options: [
                config,
                OptionSpecification(
                    name: "table", short: "t", value: "SCHEMA.TABLE",
                    help: "only this table; wildcards and repetition allowed", repeats: true),
                json,
            ],
            build: { options throws(UsageError) in
                var tables: [ConfiguredTable] = []
                for text in options.values["table"] ?? [] {
                    guard let table = ConfiguredTable(text) else {
                        throw options.error("--table: \"\(text)\" is not schema.table")
                    }
                    tables.append(table)
                }
                return .verify(config: options.value("config"), tables: tables, json: options.has("json"))
            }),
        replay,
        hours,
        CommandSpecification(
            name: "drop", summary: "remove slot and publication",
            details:
                "Removes the slot and the publication, never topics or objects. Changes made afterwards are lost to sluice.",
            usage: "sluice drop [-c FILE] [--dry-run]",
            options: [
                config,
                OptionSpecification(
                    name: "dry-run", short: nil, value: nil, help: "print what would be removed, remove nothing"),
            ],
            build: { .drop(config: $0.value("config"), dryRun: $0.has("dry-run")) }),
    ]

    private static let replay = CommandSpecification(
        name: "replay", summary: "publish a stretch of the past again",
        details:
            "Streams again from an LSN or a time within postgres.replay_window, into topics of another prefix, while the live stream goes on: whole transactions whose commit LSN, as in the header sluice.pos, is at or after the start and before the end. Each record says that it is a replayed one. A replay that was interrupted goes on where it was when the same command is given again.",
        usage:
            "sluice replay [-c FILE] (--from-lsn LSN | --from-time TIME) [--to-lsn LSN | --to-time TIME] --topic-prefix PREFIX [--dry-run]",
        options: [
            config,
            OptionSpecification(
                name: "from-lsn", short: nil, value: "LSN", help: "start at this position, such as 16/B374D848"),
            OptionSpecification(
                name: "from-time", short: nil, value: "TIME",
                help: "start at the first commit at or after this time, such as 2026-11-25T19:40:00Z"),
            OptionSpecification(
                name: "to-lsn", short: nil, value: "LSN",
                help: "stop before this position (default: where the live stream stands)"),
            OptionSpecification(
                name: "to-time", short: nil, value: "TIME", help: "stop before the first commit at or after this time"),
            OptionSpecification(
                name: "topic-prefix", short: nil, value: "PREFIX", help: "put before the name of every topic; required"),
            OptionSpecification(
                name: "dry-run", short: nil, value: nil, help: "count the rows, by table, and publish nothing"),
        ],
        build: { options throws(UsageError) in
            let from = try bound("from", options)
            let to = try bound("to", options)
            let prefix = try options.parsed("topic-prefix", allowed: "1 to 100 characters of A-Z a-z 0-9 . _ -") {
                text in
                (1...100).contains(text.utf8.count) && TopicTemplate.sanitized(text) == text ? text : nil
            }
            guard let from else { throw options.error("needs --from-lsn or --from-time") }
            switch (from, to) {
            case (.lsn(let from), .lsn(let to)) where to <= from:
                throw options.error("--to-lsn must lie behind --from-lsn")
            case (.time(let from), .time(let to)) where to <= from:
                throw options.error("--to-time must lie behind --from-time")
            default: break
            }
            guard let prefix else {
                throw options.error("needs --topic-prefix, so that live topics are not written to")
            }
            return .replay(
                config: options.value("config"),
                .init(from: from, to: to, topicPrefix: prefix, dryRun: options.has("dry-run")))
        })

    private static let hours = CommandSpecification(
        name: "hours", summary: "show which hours of the objects are complete",
        details:
            "Shows, by the manifests in the store, which hours of each topic are complete: all that was committed in the hour is in the objects that its manifest names. With --hour the exit code says it of one hour: 0 complete, 1 not yet.",
        usage: "sluice hours [-c FILE] [--topic TOPIC] [--hour TIME | --last N] [--json]",
        options: [
            config,
            OptionSpecification(name: "topic", short: nil, value: "TOPIC", help: "only this topic"),
            OptionSpecification(
                name: "hour", short: nil, value: "TIME", help: "the hour of this time, such as 2026-11-25T19:00Z"),
            OptionSpecification(name: "last", short: nil, value: "N", help: "so many hours back (default 24)"),
            OptionSpecification(
                name: "json", short: nil, value: nil, help: "print a JSON object for each hour instead of a table"),
        ],
        build: { options throws(UsageError) in
            let hour = try options.parsed("hour", allowed: TimeText.allowed, TimeText.parse)
            let last = try options.parsed("last", allowed: "a number from 1 to 100000") { text in
                Int(text).flatMap { (1...100_000).contains($0) ? $0 : nil }
            }
            guard hour == nil || last == nil else { throw options.error("takes --hour or --last, not both") }
            return .hours(
                config: options.value("config"),
                .init(topic: options.value("topic"), hour: hour, last: last ?? 24, json: options.has("json")))
        })

    /// `--from-lsn` or `--from-time`; `--to-lsn` or `--to-time`; nil where neither is given.
    private static func bound(
        _ name: String, _ options: ParsedOptions
    ) throws(UsageError) -> Command.ReplayOptions.Bound? {
        let lsn = try options.parsed("\(name)-lsn", allowed: "an LSN such as 16/B374D848", LSNText.parse)
        let time = try options.parsed("\(name)-time", allowed: TimeText.allowed, TimeText.parse)
        switch (lsn, time) {
        case (let lsn?, nil): return .lsn(lsn)
        case (nil, let time?): return .time(time)
        case (nil, nil): return nil
        default: throw options.error("takes --\(name)-lsn or --\(name)-time, not both")
        }
    }
}
