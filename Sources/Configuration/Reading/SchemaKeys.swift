extension Schema {
    static let general = [
        key(
            "name", "`[a-z0-9_]`, at most 56 characters", note: "required",
            "Names the agent: slot and publication `sluice_<name>`, progress topic `sluice.<name>.progress`, consumer group and `transactional.id` `sluice.<name>`. Two agents of one name are an active one and its standby."
        )
    ]

    static let postgres = [
        section("postgres", "The database whose changes are read."),
        key(
            "postgres.url", "a libpq URI or key=value string",
            note: "required, unless PGHOST, PGHOSTADDR, PGSERVICE or PGDATABASE is set",
            "Where the database is. A directory as host is a unix socket, the fastest way for a sidecar. libpq's `PG*` variables hold for what it leaves out. Over a network: `sslmode=verify-full&sslrootcert=FILE`, for libpq's own default verifies nobody. Never logged."
        ),
        key(
            "postgres.password", "text, best as `${VARIABLE}`", note: "none: libpq's own (PGPASSWORD, a password file)",
            "The password of the user in `url`."),
        key(
            "postgres.password_file", "a path", note: "none",
            "A file that holds the password; one line end at its end is dropped. Not together with `password`."),
        key(
            "postgres.tables", "a list of `schema.table`, with `*` and `?`", note: "required",
            "The tables to publish. A glob stands for all tables that match it when `init` runs; a name with a dot in it is written in double quotes. A table whose name is not UTF-8 (in a database in SQL_ASCII) is matched by nothing."
        ),
        key("postgres.slot", "`[a-z0-9_]`, at most 63 characters", note: "`sluice_<name>`", "The replication slot."),
        key(
            "postgres.publication", "a name of at most 63 bytes", note: "`sluice_<name>`",
            "The publication. An existing one is used as it is."),
        key(
            "postgres.streaming", "on or off", default: "off",
            "Whether the server sends large transactions while they go on (pgoutput's protocol 2; PostgreSQL 14 and later). sluice keeps them in `limits.spool_dir` and publishes each at its commit: the same records, and the server writes none of them to its own disk. Where they do not fit into `limits.spool`, the server keeps them as with `off`. For servers whose disk or CPU is short: `ops/bench` has the figures."
        ),
        section(
            "postgres.replay_window",
            "How far the slot is held back so that `sluice replay` can start in the past. WAL is kept for it: mind `max_slot_wal_keep_size`."
        ),
        key(
            "postgres.replay_window.age", "a duration", default: "0s", "How old a commit may be and still be replayed."),
        key(
            "postgres.replay_window.bytes", "a size", default: "0",
            "How much WAL may be kept for it; the window ends at whichever of the two is reached first. 0 with an `age`: by age alone."
        ),
    ]

    static let kafka = [
        section("kafka", "The cluster the changes are published to."),
        key(
            "kafka.brokers", "`host:port`, several with commas or as a list", note: "required",
            "The brokers to ask first."),
        key(
            "kafka.topic", "text with `{name}`, `{schema}`, `{table}`", default: "{name}.{schema}.{table}",
            "The topic of a table. Characters of a name outside `[A-Za-z0-9._-]` become `_`. Must hold `{table}` where more than one table may be published. The sink reads the topics that match: with a glob in `postgres.tables`, something in it (text, `{name}`, a schema) must tell them from others of the cluster."
        ),
        key(
            "kafka.dead_letter_topic", "a topic's name that holds `name`", note: "none: such a row stops the stream",
            "Where a row goes that cannot be represented (text that is not UTF-8, a row without its key): as the server sent it, in the Kafka transaction of the others, counted in `sluice_dead_letters_total`. `init` makes it, without an end of retention; no other agent may write to it. The sink does not read it. None: the stream stops at such a row with exit code 5."
        ),
        key(
            "kafka.partitions", "1 to 10000", default: "1",
            "Partitions of the topics that sluice creates. A change of it later would break the order by key, so `run` refuses one."
        ),
        key(
            "kafka.replication_factor", "1 to 100", default: "3",
            "Replicas of the topics that sluice creates; `min.insync.replicas` is one less, at least 1."),
        key(
            "kafka.client", "librdkafka properties", note: "none",
            "Properties handed to librdkafka as they are: `security.protocol`, `sasl.username`, `ssl.ca.location`, `compression.codec` and so on. With `_file` after its name a property's value is read from a file (`sasl.password_file`). Those that the guarantees rest on belong to sluice and are refused.",
            isOpen: true),
        section(
            "kafka.transaction",
            "The targets of a batch. A batch is closed between two PostgreSQL transactions, never inside one."),
        key("kafka.transaction.rows", "1 or more", default: "50000", "Rows after which a batch is closed."),
        key(
            "kafka.transaction.bytes", "a size", default: "8MiB",
            "Bytes after which a batch is closed; at most half of `limits.memory`. Batches are kept until their commit has returned: one that takes more than a fifth of `limits.memory` is closed before."
        ),
        key(
            "kafka.transaction.interval", "a duration", default: "5ms",
            "The least time between two commits; at least 50 ms as long as more than 256 KiB come between two. Longer: fewer, larger transactions, and more latency."
        ),
        key(
            "kafka.transaction.timeout", "a duration, 1s or more", default: "60s",
            "After this the broker aborts a transaction that a lost agent left open. Longer than `split.age`, and within the broker's `transaction.max.timeout.ms`."
        ),
        section("kafka.split", "The bounds past which one PostgreSQL transaction is split into several of Kafka's."),
        key("kafka.split.rows", "`transaction.rows` or more", default: "10000000", "Rows."),
        key("kafka.split.bytes", "`transaction.bytes` or more", default: "8GiB", "Bytes."),
        key(
            "kafka.split.age", "a duration", default: "45s",
            "How long its Kafka transaction may stay open. One of whole transactions is committed after half of it, however many more are at hand."
        ),
    ]

    static let events = [
        section("events", "How a change is written."),
        key(
            "events.envelope", Configuration.Events.Envelope.self, default: .debezium,
            "The shape of a record's value: Debezium's envelope, or the columns with `_op`, `_lsn`, `_commit_ts`, `_xid` and `_seq` beside them."
        ),
        key(
            "events.numeric", Configuration.Events.Numeric.self, default: .string,
            "`numeric` as an exact string, or as an exact JSON number (which many readers round)."),
        key(
            "events.tombstones", "true or false", default: "true",
            "Whether a delete is followed by a record without a value, which compaction needs."),
        key(
            "events.timestamps", Configuration.Events.Timestamps.self, default: .iso,
            "Dates and times as ISO 8601 text, or as numbers counted from 1970."),
        key(
            "events.json", Configuration.Events.JSON.self, default: .text,
            "`json` and `jsonb` as a string that holds the text, or as the JSON value itself."),
    ]

    static let s3 = [
        section("s3", "The store of the sink. May be left out for `run --only stream`."),
        key(
            "s3.url", "`s3://bucket/prefix` or `file:///directory`", note: "required",
            "Where objects go. No part of the prefix begins with a dot."),
        key("s3.endpoint", "`http://host:port` or `https://host:port`", note: "AWS", "Another server that speaks S3."),
        key(
            "s3.region", "text", note: "AWS_REGION, AWS_DEFAULT_REGION, the profile's, else us-east-1",
            "The region to sign for."),
        key(
            "s3.path_style", "true or false", note: "true with an `endpoint`, else false",
            "The bucket in the path of a request, not in the host's name."),
        key(
            "s3.access_key_id", "text", note: "AWS_ACCESS_KEY_ID, else the profile's",
            """
            The key to sign with. The keys come from one place alone, the first of these that has any: the file (these keys, or \
            `s3.profile`); `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`: \
            IRSA); the default profile; the container's role (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `_FULL_URI`: ECS, EKS Pod \
            Identity); without `s3.endpoint`, the machine's role (IMDSv2, unless `AWS_EC2_METADATA_DISABLED`). Keys that end are fetched \
            again five minutes before; those that the store refuses are looked up again. `credential_process`, SSO and roles of a profile \
            are not read.
            """
        ),
        key(
            "s3.secret_access_key", "text, best as `${VARIABLE}`", note: "AWS_SECRET_ACCESS_KEY, else the profile's",
            "Its secret."),
        key("s3.secret_access_key_file", "a path", note: "none", "A file that holds the secret."),
        key(
            "s3.session_token", "text, best as `${VARIABLE}`", note: "AWS_SESSION_TOKEN, else the profile's",
            "The token of temporary keys."),
        key("s3.session_token_file", "a path", note: "none", "A file that holds the token."),
        key(
            "s3.profile", "text", note: "AWS_PROFILE, else `default`",
            "The profile in `~/.aws/credentials` (or AWS_SHARED_CREDENTIALS_FILE). Given here, it wins over the environment's keys."
        ),
        key(
            "s3.ca_file", "a path", note: "the system's certificates", "Certificates to trust beside the system's, PEM."
        ),
        key(
            "s3.encryption", Configuration.S3.Encryption.self, default: .off,
            "What the store is asked to encrypt each object with, in `x-amz-server-side-encryption`: for a bucket whose policy refuses puts that do not say it. `off` sends nothing: the bucket's own default holds."
        ),
        key(
            "s3.kms_key_id", "the id, ARN or alias of a key", note: "the account's own key for S3",
            "The key of `encryption: aws:kms`. The agent needs `kms:GenerateDataKey` and `kms:Decrypt` on it; `verify` and readers need `kms:Decrypt`."
        ),
        key(
            "s3.acl", Configuration.S3.ACL.self, default: .off,
            "The canned ACL of each object, in `x-amz-acl`: `bucket-owner-full-control` for a bucket of another account. The agent needs `s3:PutObjectAcl`. `off` sends none."
        ),
        key(
            "s3.compression", Configuration.S3.Compression.self, default: .none,
            "How an object is compressed. Spark and Hadoop read gzip, and cannot read lz4's frames."),
        key(
            "s3.conditional", Configuration.S3.Conditional.self, default: .required,
            "Whether a store that does not honour `If-None-Match: *` is refused. `off` gives up the protection from two workers that write one object."
        ),
        key(
            "s3.seal_after", "a duration, 1s or more", default: "1m",
            "How long after its end, by the source's clock, an hour is sealed by a manifest. Rows that were committed late are sealed by a later revision of it."
        ),
        section("s3.rotate", "When an object is closed before its hour is over."),
        key(
            "s3.rotate.bytes", "a size, at most 4GiB", default: "128MiB",
            "Bytes as stored, after compression. An object ends behind this bound, and one PUT takes 5GiB."),
        key("s3.rotate.age", "a duration, 1s or more", default: "10m", "Time since its first record arrived."),
    ]

    static let limits = [
        section("limits", "Bounds on memory, disk and time."),
        key(
            "limits.memory", "a size, 16MiB or more", default: "48MiB",
            "Bytes of rows and buffers in memory. The process needs about 20 MiB beside them."),
        key(
            "limits.spool", "a size", default: "1GiB",
            "Bytes of local disk for objects that are being written, and for transactions that are received before their commit (at most half of it where both are in one process); `sluice verify` takes as much again while it runs, for the rows that it compares. At least `s3.rotate.bytes`."
        ),
        key("limits.spool_dir", "an absolute path", default: "/var/tmp", "Where that disk is."),
        key(
            "limits.start_timeout", "a duration", default: "60s",
            "How long a server may be out of reach at start before the exit code is 69. After the first commit it is retried for ever."
        ),
        key("limits.stop_timeout", "a duration", default: "10s", "How long a drain may take after SIGTERM."),
    ]

    static let output = [
        key(
            "http", "`address:port`, or off", default: "127.0.0.1:9465",
            "Where `/metrics`, `/healthz`, `/readyz`, `/status` and the page at `/` are served. They ask for no password: keep them on a private address."
        ),
        section("log", "What is written to standard error."),
        key("log.level", Configuration.Log.Level.self, default: .info, "The least grave that is written."),
        key(
            "log.format", Configuration.Log.Format.self, default: .text, "Lines for people, or one JSON object a line."),
    ]
}
