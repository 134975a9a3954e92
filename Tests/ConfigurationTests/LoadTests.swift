import Testing

@testable import Configuration

@Suite struct LoadTests {
    @Test func theShortestFileHasEveryDefault() throws {
        let c = try load(minimal)
        #expect(c.name == "tesouro")
        #expect(c.postgres.url.reveal() == "postgresql://sluice@127.0.0.1:5432/gold")
        #expect(c.postgres.password == nil)
        #expect(c.postgres.slot == "sluice_tesouro" && c.postgres.publication == "sluice_tesouro")
        #expect(c.postgres.replayWindow.isEmpty)
        #expect(c.kafka.brokers == ["127.0.0.1:9092"])
        #expect(c.kafka.topic.description == "{name}.{schema}.{table}" && c.kafka.deadLetterTopic == nil)
        #expect(c.kafka.partitions == 1 && c.kafka.replicationFactor == 3 && c.kafka.client.isEmpty)
        #expect(
            c.kafka.transaction
                == .init(rows: 50_000, bytes: 8 << 20, interval: .milliseconds(5), timeout: .seconds(60)))
        #expect(c.kafka.split == .init(rows: 10_000_000, bytes: 8 << 30, age: .seconds(45)))
        #expect(
            c.events == .init(envelope: .debezium, numeric: .string, tombstones: true, timestamps: .iso, json: .text))
        let s3 = try #require(c.s3)
        #expect(s3.location == .bucket(name: "lake", prefix: "tesouro"))
        #expect(s3.endpoint == nil && s3.region == "us-east-1" && !s3.pathStyle && s3.caFile == nil)
        #expect(s3.compression == .none && s3.conditional == .required)
        #expect(s3.encryption == .off && s3.kmsKeyID == nil && s3.acl == .off)
        #expect(s3.rotate == .init(bytes: 128 << 20, age: .seconds(600)))
        #expect(s3.credentials?.origin == "environment")
        #expect(c.limits.memory == 48 << 20 && c.limits.spool == 1 << 30 && c.limits.spoolDirectory == "/var/tmp")
        #expect(c.limits.startTimeout == .seconds(60) && c.limits.stopTimeout == .seconds(10))
        #expect(c.http?.description == "127.0.0.1:9465")
        #expect(c.log == .init(level: .info, format: .text))
    }

    @Test func everyKeyCanBeSet() throws {
        let c = try load(
            """
            name: n1
            postgres:
              url: host=/run/postgresql dbname=gold
              password: p:w
              tables: ["public.*_gold", 's."T.x"']
              slot: other_slot
              publication: Their Publication
              replay_window: { age: 1h30m, bytes: 10GB }
            kafka:
              brokers: [a:1, b, "[::1]:9"]
              topic: "postgres-{table}"
              dead_letter_topic: dead.Letters_n1-x
              partitions: 12
              replication_factor: 1
              client: { security.protocol: SASL_SSL, sasl.password_file: /k, linger.ms: 5 }
              transaction: { rows: 7, bytes: 1MB, interval: 0s, timeout: 90s }
              split: { rows: 8, bytes: 2000000, age: 1m }
            events: { envelope: flat, numeric: number, tombstones: false, timestamps: epoch, json: inline }
            s3:
              url: s3://b.c/
              endpoint: https://s3.example:9000/
              region: eu-west-1
              path_style: false
              access_key_id: id
              secret_access_key_file: /s
              session_token: tok
              ca_file: /ca.pem
              encryption: aws:kms
              kms_key_id: arn:aws:kms:eu-west-1:1:key/a-b
              acl: bucket-owner-full-control
              compression: gzip
              conditional: off
              rotate: { bytes: 1GiB, age: 1d }
            limits: { memory: 16MiB, spool: 2GiB, spool_dir: /spool, start_timeout: 1s, stop_timeout: 0s }
            http: off
            log: { level: debug, format: json }
            """, environment: [:], files: ["/k": "kafka-secret\n", "/s": "s3-secret\r\n"])
        #expect(c.postgres.password?.reveal() == "p:w")
        #expect(c.postgres.tables.map(\.description) == ["public.*_gold", "s.\"T.x\""])
        #expect(c.postgres.slot == "other_slot" && c.postgres.publication == "Their Publication")
        #expect(c.postgres.replayWindow == .init(age: .seconds(5400), bytes: 10_000_000_000))
        #expect(c.kafka.brokers == ["a:1", "b:9092", "[::1]:9"])
        #expect(c.kafka.topic.topic(name: "n1", schema: "s", table: "T.é x") == "postgres-T.__x")
        #expect(c.kafka.deadLetterTopic == "dead.Letters_n1-x")
        #expect(c.kafka.client.map(\.name) == ["security.protocol", "sasl.password", "linger.ms"])
        #expect(c.kafka.client.map { $0.value.reveal() } == ["SASL_SSL", "kafka-secret", "5"])
        #expect(c.kafka.transaction == .init(rows: 7, bytes: 1_000_000, interval: .zero, timeout: .seconds(90)))
        #expect(c.kafka.split == .init(rows: 8, bytes: 2_000_000, age: .seconds(60)))
        #expect(
            c.events == .init(envelope: .flat, numeric: .number, tombstones: false, timestamps: .epoch, json: .inline))
        let s3 = try #require(c.s3)
        #expect(
            s3.location == .bucket(name: "b.c", prefix: "") && s3.endpoint == "https://s3.example:9000" && !s3.pathStyle
        )
        let keys = Credentials(
            accessKeyID: "id", secretAccessKey: Secret("s3-secret"), sessionToken: Secret("tok"), origin: "sluice.yaml")
        #expect(s3.credentials == keys)
        #expect(s3.region == "eu-west-1" && s3.caFile == "/ca.pem" && s3.compression == .gzip && s3.conditional == .off)
        #expect(s3.encryption == .kms && s3.kmsKeyID == "arn:aws:kms:eu-west-1:1:key/a-b")
        #expect(s3.acl == .bucketOwnerFullControl)
        #expect(c.http == nil && c.log == .init(level: .debug, format: .json))
        #expect(c.limits.stopTimeout == .zero && c.limits.spoolDirectory == "/spool")
    }

    @Test func halvesNeedOnlyTheirs() throws {
        let streamOnly = minimal.split(separator: "\n").dropLast(2).joined(separator: "\n")
        #expect(try load(streamOnly, environment: [:], purpose: .stream).s3 == nil)
        #expect(
            problems(streamOnly) == [
                "sluice.yaml: s3: missing; the sink needs at least s3.url (or run with --only stream)"
            ])
        // Secrets of the other half are not read.
        let secrets = minimal("postgres", "password_file: /none")
        #expect(try load(secrets, purpose: .sink).postgres.password == nil)
        #expect(
            problems(secrets) == [
                "sluice.yaml:3:3: postgres.password_file: cannot read /none: No such file or directory"
            ])
        let noKeys = try load(minimal, environment: [:], purpose: .stream)
        #expect(noKeys.s3?.credentials == nil && noKeys.s3 != nil)
        let noURL = minimal.split(separator: "\n").filter { !$0.contains("postgresql://") }.joined(separator: "\n")
        #expect(try load(noURL, purpose: .sink).postgres.url.isEmpty)
        #expect(problems(noURL).first?.hasPrefix("sluice.yaml:2:1: postgres.url: missing") == true)
        #expect(try load(noURL, environment: awsKeys.merging(["PGHOST": "/run"]) { $1 }).postgres.url.isEmpty)
    }

    @Test func valuesRememberTheirLine() throws {
        let c = try load(minimal)
        #expect(c.source.location(of: "postgres.tables") == SourceLocation(line: 4, column: 3))
        #expect(c.source.location(of: "kafka.split.age") == SourceLocation(line: 5, column: 1))
        #expect(c.source.location(of: "http") == nil)
        #expect(
            c.source.problem("postgres.tables", "public.x does not exist").description
                == "sluice.yaml:4:3: postgres.tables: public.x does not exist")
    }

    @Test func secretsNeverPrintThemselves() throws {
        let c = try load(minimal("postgres", "password: hunter2"))
        var text = ""
        dump(c, to: &text)
        text += "\(c) \(String(reflecting: c)) \(String(describing: c.postgres.password))"
        #expect(!text.contains("hunter2") && !text.contains("sluice@127") && !text.contains("hush"))
        #expect(text.contains("<secret>"))
        // Nor through a message: a variable is shown by its name.
        let found = problems(
            minimal("kafka", "partitions: ${SECRET}"), environment: awsKeys.merging(["SECRET": "hunter2"]) { $1 })
        #expect(found == ["sluice.yaml:6:15: kafka.partitions: \"${SECRET}\" is not allowed; allowed: 1 to 10000"])
        for url in ["no-uri-with-secret", "postgres//x:hunter2"] {
            let found = problems(minimal.replacing("postgresql://sluice@127.0.0.1:5432/gold", with: url))
            #expect(found == ["sluice.yaml:3:8: postgres.url: is neither postgresql://... nor key=value pairs"])
        }
    }

    @Test func variables() throws {
        let environment = awsKeys.merging(["H": "db", "E": ""]) { $1 }
        let c = try load(minimal("postgres", "password: \"a${H}b$${H}$c$\""), environment: environment)
        #expect(c.postgres.password?.reveal() == "adbb${H}$c$")
        #expect(
            problems(minimal("postgres", "password: ${NOPE}")) == [
                "sluice.yaml:3:13: postgres.password: the environment variable NOPE is not set"
            ])
        #expect(problems(minimal("postgres", "password: '${H'"))[0].contains("a ${ without its }"))
        #expect(problems(minimal("postgres", "password: '${H:-x}'"))[0].contains("not a variable's name"))
        #expect(problems(minimal("postgres", "password: ${E}"), environment: environment)[0].contains("is empty"))
    }

    @Test func searchPath() throws {
        #expect(try Configuration.locate("x") { _ in false } == "x")
        #expect(try Configuration.locate(nil) { _ in true } == "./sluice.yaml")
        #expect(try Configuration.locate(nil) { $0.hasPrefix("/etc") } == "/etc/sluice/sluice.yaml")
        #expect(throws: ConfigurationProblems.self) { try Configuration.locate(nil) { _ in false } }
        #expect(problemsOfFile("/no/such/file") == ["/no/such/file: cannot read it: No such file or directory"])
        #expect(problemsOfFile("/")[0].contains("cannot read it: Is a directory"))
    }

    private func problemsOfFile(_ path: String) -> [String] {
        do throws(ConfigurationProblems) {
            _ = try Configuration.load(path: path, environment: [:])
            return []
        } catch {
            return error.problems.map(\.description)
        }
    }
}
