import ChangeData
import Configuration
import ObjectStorage
import Pipeline

extension Settings {
    static func sink(_ configuration: Configuration, streamsToo: Bool) throws(AgentExit) -> SinkSettings {
        guard let store = try store(configuration), let s3 = configuration.s3 else {
            throw problem(configuration, "s3", "is missing: the sink has no store")
        }
        let topics: TopicSelection
        do throws(TopicError) {
            topics = try TopicSelection(
                name: configuration.name, template: configuration.kafka.topic.description,
                tables: tables(configuration.postgres.tables), deadLetters: configuration.kafka.deadLetterTopic)
        } catch { throw problem(configuration, "kafka.topic", error.description) }
        var settings = SinkSettings(
            name: configuration.name, kafka: try kafka(configuration), topics: topics, store: store.location,
            storeName: store.name, compression: compression(s3), conditional: s3.conditional == .off ? .off : .required,
            segments: SegmentPolicy(bytes: s3.rotate.bytes, age: s3.rotate.age.inNanoseconds),
            memory: streamsToo ? configuration.limits.memory / 2 : configuration.limits.memory,
            spool: configuration.limits.spool, spoolDirectory: configuration.limits.spoolDirectory,
            startTimeout: configuration.limits.startTimeout.inNanoseconds)
        settings.sealAfter = s3.sealAfter.inNanoseconds / 1000
        return settings
    }

    /// Where objects go, and its name for people; nil without `s3`.
    static func store(_ configuration: Configuration) throws(AgentExit) -> (location: StoreLocation, name: String)? {
        guard let s3 = configuration.s3 else { return nil }
        switch s3.location {
        case .directory(let path): return (.file(FileStoreSettings(root: path)), "file://\(path)")
        case .bucket(let bucket, let prefix):
            guard let credentials = s3.credentials else {
                throw problem(configuration, "s3.access_key_id", "is missing")
            }
            var settings = S3Settings(
                bucket: bucket, prefix: prefix, endpoint: s3.endpoint, region: s3.region, pathStyle: s3.pathStyle,
                credentials: keys(credentials), caFile: s3.caFile)
            let file = configuration.source.file
            settings.renewCredentials = {
                let log = logger(configuration)
                do throws(ConfigurationProblems) {
                    let now = try Configuration.load(path: file, environment: Environment.variables, purpose: .sink)
                    log.info("the store has refused the keys: they are looked up again", ["store": .init(bucket)])
                    return now.s3?.credentials.map(keys)
                } catch {
                    log.warning("the store's keys cannot be looked up again", ["error": .init(error.description)])
                    return nil
                }
            }
            return (.s3(settings), "s3://\(bucket)\(prefix.isEmpty ? "" : "/" + prefix)")
        }
    }

    private static func keys(_ credentials: Credentials) -> S3Credentials {
        S3Credentials(
            accessKeyID: credentials.accessKeyID, secretAccessKey: credentials.secretAccessKey.reveal(),
            sessionToken: credentials.sessionToken?.reveal())
    }

    private static func compression(_ s3: Configuration.S3) -> Compression {
        switch s3.compression {
        case .none: .none
        case .gzip: .gzip
        case .lz4: .lz4
        }
    }
}
