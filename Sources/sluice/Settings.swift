import ChangeData
import Configuration
import Kafka
import Pipeline
import Postgres
import Telemetry

/// What the configuration says, in the words of the parts.
enum Settings {
    /// - Parameter sinkToo: a sink in the same process uses the same disk.
    static func stream(
        _ configuration: Configuration, sinkToo: Bool = false
    ) throws(AgentExit) -> StreamSettings {
        var connection: ConnectionSettings
        do throws(PostgresError) {
            connection = try ConnectionSettings(
                url: configuration.postgres.url.reveal(), password: configuration.postgres.password?.reveal())
        } catch { throw problem(configuration, "postgres.url", error.description) }
        if let path = configuration.source.secretFiles["postgres.password"] {
            connection.renewedPassword = { (try? Secret.read(path))?.reveal() }
        }
        let kafka = configuration.kafka
        var settings = StreamSettings(
            name: configuration.name, postgres: connection, tables: tables(configuration.postgres.tables),
            slot: configuration.postgres.slot, publication: configuration.postgres.publication,
            kafka: try Self.kafka(configuration), partitions: Int32(clamping: kafka.partitions),
            replicationFactor: Int16(clamping: kafka.replicationFactor),
            batch: BatchPolicy(
                rows: kafka.transaction.rows, bytes: kafka.transaction.bytes,
                interval: kafka.transaction.interval.inNanoseconds,
                // Long before a transaction that goes on would have to be split.
                age: kafka.split.age.inNanoseconds / 2),
            split: SplitPolicy(rows: kafka.split.rows, bytes: kafka.split.bytes, age: kafka.split.age.inNanoseconds),
            transactionTimeout: kafka.transaction.timeout.inNanoseconds,
            format: format(configuration, database: connection.database),
            // The other half is the sink's, or what the clients and the allocator take beyond their buffers.
            memory: configuration.limits.memory / 2,
            startTimeout: configuration.limits.startTimeout.inNanoseconds,
            window: ReplayWindow(
                age: configuration.postgres.replayWindow.age.inNanoseconds / 1000,
                bytes: UInt64(clamping: configuration.postgres.replayWindow.bytes)))
        if let s3 = configuration.s3 { settings.sealAfter = s3.sealAfter.inNanoseconds / 1000 }
        if configuration.postgres.streaming == .on {
            settings.streaming = .init(
                directory: configuration.limits.spoolDirectory, bytes: configuration.limits.spool / (sinkToo ? 2 : 1))
        }
        return settings
    }

    static func tables(_ patterns: [ConfiguredTable]) -> [TablePattern] {
        patterns.map { TablePattern(schema: $0.schema, table: $0.table) }
    }

    static func kafka(_ configuration: Configuration) throws(AgentExit) -> KafkaSettings {
        do throws(KafkaSettings.Refusal) {
            var settings = try KafkaSettings(
                brokers: configuration.kafka.brokers.joined(separator: ","), clientID: "sluice-\(configuration.name)",
                properties: Dictionary(
                    configuration.kafka.client.map { ($0.name, $0.value.reveal()) },
                    uniquingKeysWith: { _, last in last }))
            let files = configuration.kafka.client.compactMap { property in
                configuration.source.secretFiles["kafka.client.\(property.name)"].map { (property.name, $0) }
            }
            if !files.isEmpty {
                settings.renewed = {
                    // One that cannot be read stays as it was.
                    let now = files.compactMap { name, path in (try? Secret.read(path)).map { (name, $0.reveal()) } }
                    return Dictionary(now, uniquingKeysWith: { _, last in last })
                }
            }
            return settings
        } catch { throw problem(configuration, "kafka.client.\(error.property)", error.reason) }
    }

    private static func format(_ configuration: Configuration, database: String) -> EventFormat {
        let events = configuration.events
        return EventFormat(
            name: configuration.name, database: database, version: Application.version, epoch: 1,
            topicTemplate: configuration.kafka.topic.description,
            envelope: events.envelope == .flat ? .flat : .debezium,
            numeric: events.numeric == .number ? .number : .string,
            timestamps: events.timestamps == .epoch ? .epoch : .iso,
            json: events.json == .inline ? .inline : .text, tombstones: events.tombstones,
            deadLetterTopic: configuration.kafka.deadLetterTopic)
    }

    static func logger(_ configuration: Configuration, least: Logger.Level? = nil) -> Logger {
        let level = least ?? Logger.Level(rawValue: configuration.log.level.rawValue) ?? .info
        let format: Logger.Format =
            configuration.log.format == .json
            ? .json
            : .text(isColoured: LogSink.isColourTerminal(2, environment: Environment.variables))
        return Logger(level: level, format: format, sink: .descriptor(2), now: { Clock.system.wall() / 1000 })
    }

    static func problem(_ configuration: Configuration, _ key: String, _ message: String) -> AgentExit {
        AgentExit(.configuration, configuration.source.problem(key, message).description)
    }
}

extension Duration {
    /// Nanoseconds, the unit of `Clock`; the largest there is where it does not fit.
    var inNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : whole &+ attoseconds / 1_000_000_000
    }
}
