import Testing

@testable import Configuration

@Suite struct ProblemTests {
    @Test func allProblemsComeAtOnceInTheOrderOfTheFile() {
        let found = problems(
            """
            name: Tesouro
            postgres:
              url: postgresql://h/d
              tables: [a_gold]
              slt: x
            kafka:
              brokers: h:99999
              partitons: 1
              replication_factor: 0
              replication_factor: 3
            partitions: 4
            events: flat
            s3:
              url: http://x
            limits: { memory: 1KiB }
            """)
        #expect(
            found == [
                "sluice.yaml:1:7: name: \"Tesouro\" is not allowed; allowed: a-z, 0-9 and _, at most 56 characters (slot and publication are sluice_<name>)",
                "sluice.yaml:4:11: postgres.tables: \"a_gold\" is not schema.table; wildcards * and ? are allowed in both (did you mean public.a_gold?)",
                "sluice.yaml:5:3: postgres.slt: unknown key; allowed here: url, password, password_file, tables, slot, publication, streaming, replay_window (did you mean slot?)",
                "sluice.yaml:7:12: kafka.brokers: \"h:99999\" is not host:port",
                "sluice.yaml:8:3: kafka.partitons: unknown key; allowed here: brokers, topic, dead_letter_topic, partitions, replication_factor, client, transaction, split (did you mean partitions?)",
                "sluice.yaml:9:23: kafka.replication_factor: \"0\" is not allowed; allowed: 1 to 100",
                "sluice.yaml:10:3: kafka.replication_factor: given twice; first on line 9",
                "sluice.yaml:11:1: partitions: unknown key; allowed here: name, postgres, kafka, events, s3, limits, http, log (did you mean kafka.partitions?)",
                "sluice.yaml:12:9: events: must be a section of keys, is a single value; allowed here: envelope, numeric, tombstones, timestamps, json",
                "sluice.yaml:14:8: s3.url: \"http://x\" is not allowed; allowed: s3://bucket/prefix or file:///directory",
                "sluice.yaml:15:19: limits.memory: \"1KiB\" is not allowed; allowed: bytes, or a number with B, KiB, MiB, GiB, TiB, KB, MB, GB or TB, such as 128MiB, 16MiB or more",
            ])
    }

    @Test func whatIsMissing() {
        let found = problems("log:\n", environment: [:])
        #expect(found.count == 5)
        for key in ["name", "postgres.url", "postgres.tables", "kafka.brokers", "s3"] {
            #expect(found.contains { $0.contains(": \(key): missing") })
        }
        #expect(
            problems("[]")[0]
                == "sluice.yaml:1:1: must be a section of keys, is a list; allowed here: name, postgres, kafka, events, s3, limits, http, log"
        )
        #expect(problems("~")[0].contains("is empty"))
    }

    /// One line added to the shortest file, and a piece of the only problem it may cause.
    @Test(arguments: [
        ("kafka", "partitions:", "has no value; leave the line out for the default (1); allowed: 1 to 10000"),
        ("kafka", "partitions: ~", "has no value"),
        ("kafka", "partitions: [1]", "must be a single value, is a list"),
        ("kafka", "partitions: 1.5", "\"1.5\" is not allowed"),
        ("kafka", "partitions: +1", "\"+1\" is not allowed"),
        ("kafka", "topic: x.{tabel}", "unknown placeholder {tabel}; allowed: {name}, {schema}, {table}"),
        ("kafka", "topic: x.{table", "a { without its }"),
        ("kafka", "topic: 'x y'", "a topic's name may hold only"),
        ("kafka", "topic: ''", "empty"),
        ("kafka", "topic: sluice.tesouro.progress", "is that of the progress topic"),
        ("kafka", "dead_letter_topic: \"a b\"", "the name of a topic"),
        ("kafka", "dead_letter_topic: ..", "the name of a topic"),
        ("kafka", "dead_letter_topic: dead", "must hold the agent's name, tesouro"),
        ("kafka", "dead_letter_topic: tesouro_message", "the topic of positions or of logical messages"),
        ("kafka", "dead_letter_topic: sluice.tesouro_progress", "the topic of positions or of logical messages"),
        ("kafka", "dead_letter_topic: tesouro.public_a_gold", "is that of kafka.dead_letter_topic"),
        ("kafka", "client: { acks: 1 }", "kafka.client.acks: belongs to sluice"),
        ("kafka", "client: { transactional.id_file: /x }", "belongs to sluice: it follows from name"),
        ("kafka", "client: { sasl.password: a, sasl.password_file: /x }", "given together with sasl.password"),
        ("kafka", "client: { sasl.password_file: /x }", "cannot read /x: No such file"),
        ("kafka", "client: { a: }", "kafka.client.a: has no value"),
        ("kafka", "client: [a]", "must be a section of keys, is a list"),
        ("kafka", "transaction: { timeout: 45s }", "must be longer than kafka.split.age (45s), is 45s"),
        ("kafka", "transaction: { timeout: 0s }", "1s or more"),
        ("kafka", "transaction: { interval: 50s }", "must be shorter than kafka.split.age (45s)"),
        ("kafka", "transaction: { bytes: 25MiB }", "must be at most half of limits.memory (48MiB)"),
        ("kafka", "split: { rows: 10 }", "must be kafka.transaction.rows (50000) or more"),
        ("kafka", "split: { bytes: 1MiB }", "must be kafka.transaction.bytes (8MiB) or more"),
        ("kafka", "split: { age: 45 }", "\"45\" is not allowed; allowed: a number with us, ms, s, m, h or d"),
        ("events", "tombstones: yes", "\"yes\" is not allowed; allowed: true or false"),
        ("events", "envelope: Debezium", "allowed: debezium, flat"),
        ("postgres", "slot: Bad-Slot", "a-z, 0-9 and _, at most 63"),
        ("postgres", "publication: ''", "1 to 63 bytes"),
        ("postgres", "password: a\n  password_file: /x", "postgres.password_file: given together with password"),
        ("s3", "endpoint: s3.example", "http://host:port or https://host:port"),
        ("s3", "endpoint: http://h/path", "http://host:port or https://host:port"),
        ("s3", "endpoint: http://u:hunter2@h", "\"http://***@h\" is not allowed"),
        ("s3", "access_key_id: a", "secret_access_key: missing beside access_key_id"),
        ("s3", "secret_access_key: a", "s3.access_key_id: missing"),
        ("s3", "profile: p\n  access_key_id: a", "profile: given together with access_key_id"),
        ("s3", "profile: p", "no keys for the store"),
        ("s3", "compression: zstd", "allowed: none, gzip, lz4"),
        ("s3", "encryption: aes256", "\"aes256\" is not allowed; allowed: off, AES256, aws:kms"),
        ("s3", "encryption: kms\n  kms_key_id: k", "\"kms\" is not allowed"),
        ("s3", "kms_key_id: alias/a", "is only for encryption: aws:kms, and s3.encryption is off"),
        ("s3", "encryption: AES256\n  kms_key_id: k", "is only for encryption: aws:kms, and s3.encryption is AES256"),
        ("s3", "encryption: aws:kms\n  kms_key_id: a b", "the id, ARN or alias of a key, without blanks"),
        ("s3", "acl: bucket-owner", "allowed: off, bucket-owner-full-control, bucket-owner-read, private,"),
        ("s3", "rotate: { bytes: 6GiB }", "at most 4GiB"),
        ("s3", "rotate: { bytes: 2GiB }", "must be at most limits.spool (1GiB)"),
        ("limits", "spool_dir: tmp", "an absolute path"),
        ("log", "level: trace", "allowed: error, warning, info, debug"),
    ])
    func oneMistake(section: String, line: String, expected: String) {
        let found = problems(minimal(section, line))
        #expect(found.count == 1 && found.first?.contains(expected) == true, "\(found)")
    }

    /// A directory has neither keys of its own nor lists of who may read.
    @Test func whatADirectoryCannotDo() {
        let directory = minimal.replacing("s3://lake/tesouro", with: "file:///lake")
        for line in ["encryption: AES256", "acl: private", "encryption: aws:kms\n  kms_key_id: k"] {
            let found = problems(directory + "  \(line)\n", environment: [:])
            #expect(found.count == line.split(separator: "\n").count)
            #expect(found.allSatisfy { $0.contains("is for a bucket, and s3.url is a directory") }, "\(found)")
        }
        #expect(problems(directory + "  encryption: off\n  acl: off\n", environment: [:]).isEmpty)
    }

    @Test(arguments: [":9465", "localhost", "example.com:80", "1.2.3.4:70000", "[::1:5", "1.2.3.4:-1"])
    func badAddress(text: String) {
        #expect(problems(minimal + "http: \"\(text)\"\n").count == 1)
    }

    @Test func topicsThatCollide() {
        func check(_ tables: String, _ topic: String) -> String? {
            problems(
                minimal.replacing("[public.a_gold]", with: tables).replacing(
                    "  brokers", with: "  topic: \"\(topic)\"\n  brokers")
            ).first
        }
        #expect(check("[a.x, b.x]", "{table}")?.contains("the topic of b.x would be x, which is that of a.x") == true)
        #expect(check("[a.b_c, a_b.c]", "{schema}.{table}")?.contains("differs from it only in . and _") == true)
        #expect(check("[a.x, a.y]", "all")?.contains("must hold {table}") == true)
        #expect(check("['a.*']", "all")?.contains("must hold {table}") == true)
        #expect(check("[a.x]", "all") == nil)
        // Else the sink would read what is none of its own.
        let foreign = "tell the topics of these tables from no others"
        for (tables, topic) in [
            ("['a.*']", "{table}"), ("['a.*_gold']", "{table}"), ("[a.x, 'a.?x']", "{table}"),
            ("['*.*']", "{schema}.{table}"),
            ("['*.x*']", "{schema}_{table}"), ("['*.*']", "-{table}-"),
        ] {
            #expect(check(tables, topic)?.contains(foreign) == true, "\(tables) \(topic)")
            // Without a sink nobody reads them.
            let stream = problems(
                minimal.replacing("[public.a_gold]", with: tables).replacing(
                    "  brokers", with: "  topic: \"\(topic)\"\n  brokers"
                ).replacing("s3:\n  url: s3://lake/tesouro\n", with: ""), purpose: .stream)
            #expect(stream.isEmpty, "\(stream)")
        }
        for (tables, topic) in [
            ("['a.*']", "postgres-{table}"), ("['a.*']", "{table}.cdc"), ("['a.*']", "{schema}.{table}"),
            ("['*.*']", "{name}.{table}"),
            ("['a.gold_*']", "{table}"), ("[a.x, a.y]", "{table}"), ("['gold*.*']", "{schema}.{table}"),
            ("['*.x']", "{schema}.{table}"),
        ] { #expect(check(tables, topic) == nil, "\(tables) \(topic)") }
        #expect(check("[a.x, a.x]", "{table}")?.contains("a.x is given twice") == true)
        #expect(check("[]", "{table}")?.contains("names no table") == true)
        #expect(check("[a.\(String(repeating: "x", count: 250))]", "{table}")?.contains("1 to 249") == true)
    }

    /// In the order in which AWS's own tools look; what the user has written goes before all of them.
    @Test func rolesGiveTheKeysWhereThereAreNone() throws {
        func role(_ environment: [String: String], _ more: String = "", files: [String: String] = [:]) throws
            -> Configuration.S3?
        {
            try load(minimal + more, environment: environment, files: files).s3
        }
        let web = ["AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ROLE_ARN": "arn"]
        let container = [
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/a",
        ]
        let home = ["HOME": "/h"]
        let profile = ["/h/.aws/credentials": "[default]\naws_access_key_id = d\naws_secret_access_key = s\n"]
        #expect(
            try role(web.merging(container) { $1 })?.role
                == .webIdentity(tokenFile: "/t", role: "arn", session: "sluice", endpoint: nil))
        #expect(
            try role(container)?.role
                == .container(url: "http://169.254.170.2/v2/x", authorization: nil, authorizationFile: "/a"))
        #expect(try role(home)?.role == .instance(endpoint: "http://169.254.169.254"))
        #expect(problems(minimal, environment: ["AWS_EC2_METADATA_DISABLED": "true"]).count == 1)
        // A server that is not AWS's has no machines with roles.
        let other = minimal + "\n  endpoint: http://127.0.0.1:9000"
        #expect(problems(other, environment: home).count == 1)
        // Keys go before roles, but for the default profile before a role that the pod was given.
        #expect(try role(web.merging(awsKeys) { $1 })?.role == nil)
        #expect(try role(container.merging(home) { $1 }, files: profile)?.credentials?.accessKeyID == "d")
        let both = try role(web.merging(home) { $1 }, files: profile)
        #expect(both?.credentials == nil && both?.role != nil)
    }

    @Test func credentialsFromProfiles() throws {
        let home = ["HOME": "/h"]
        let store = [
            "/h/.aws/credentials":
                "[default]\naws_access_key_id = d\naws_secret_access_key=ds\n; note\n[p]\naws_access_key_id=pi\naws_secret_access_key = ps=\naws_session_token = pt\n",
            "/h/.aws/config":
                "[default]\nregion = sa-east-1\n[profile p]\nregion=eu-north-1\ns3 =\n  region = nested\n",
        ]
        let plain = try load(minimal, environment: home, files: store).s3
        #expect(
            plain?.credentials?.accessKeyID == "d" && plain?.credentials?.origin == "profile default"
                && plain?.region == "sa-east-1")
        let named = try load(minimal("s3", "profile: p"), environment: home.merging(awsKeys) { $1 }, files: store).s3
        #expect(
            named?.credentials
                == Credentials(
                    accessKeyID: "pi", secretAccessKey: Secret("ps="), sessionToken: Secret("pt"), origin: "profile p"))
        #expect(named?.region == "eu-north-1")
        let variable = try load(
            minimal, environment: home.merging(["AWS_PROFILE": "p", "AWS_REGION": "r"]) { $1 }, files: store
        ).s3
        #expect(variable?.credentials?.accessKeyID == "pi" && variable?.region == "r")
        // The file's keys are not mixed with the environment's token.
        let own = try load(
            minimal("s3", "access_key_id: i", "secret_access_key: s"),
            environment: awsKeys.merging(["AWS_SESSION_TOKEN": "t"]) { $1 }
        ).s3
        #expect(own?.credentials?.sessionToken == nil)
        #expect(
            problems(minimal, environment: home.merging(["AWS_EC2_METADATA_DISABLED": "true"]) { $1 })[0].contains(
                "profile default has none in /h/.aws/credentials"))
        #expect(
            try load(minimal.replacing("s3://lake/tesouro", with: "file:///var/lib/lake/"), environment: [:]).s3?
                .location == .directory("/var/lib/lake"))
    }
}
