import ChangeData
import Configuration
import ObjectStorage
import Pipeline
import Telemetry

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
            var settings = S3Settings(
                bucket: bucket, prefix: prefix, endpoint: s3.endpoint, region: s3.region, pathStyle: s3.pathStyle,
                credentials: s3.credentials.map(keys), caFile: s3.caFile)
            switch s3.encryption {
            case .off: break
            case .aes256: settings.encryption = .aes256
            case .kms: settings.encryption = .kms(keyID: s3.kmsKeyID)
            }
            if s3.acl != .off { settings.acl = s3.acl.rawValue }
            if s3.credentials != nil {
                settings.findCredentials = { refused, _ in refused == nil ? nil : readAgain(configuration, bucket) }
            } else if let role = s3.role {
                settings.findCredentials = try find(role, configuration, s3)
            } else {
                throw problem(configuration, "s3.access_key_id", "is missing")
            }
            return (.s3(settings), "s3://\(bucket)\(prefix.isEmpty ? "" : "/" + prefix)")
        }
    }

    /// The keys as they stand in the file, the environment or the profile by now.
    private static func readAgain(_ configuration: Configuration, _ bucket: String) -> S3Credentials? {
        let log = logger(configuration)
        do throws(ConfigurationProblems) {
            let now = try Configuration.load(
                path: configuration.source.file, environment: Environment.variables, purpose: .sink)
            log.info("the store has refused the keys: they are looked up again", ["store": .init(bucket)])
            return now.s3?.credentials.map(keys)
        } catch {
            log.warning("the store's keys cannot be looked up again", ["error": .init(error.description)])
            return nil
        }
    }

    /// The keys of a role. A machine that says that it has none is told of at once, as a key that is missing; one that says nothing may be
    /// about to start.
    private static func find(
        _ role: CredentialSource, _ configuration: Configuration, _ s3: Configuration.S3
    ) throws(AgentExit) -> @Sendable (S3Credentials?, AbortFlag) throws(StorageError) -> S3Credentials? {
        let source = source(role, region: s3.region)
        let credentials = RoleCredentials(
            source, caFile: s3.caFile, readFile: { try? FileReader.read($0) },
            members: { bytes in
                let members = JSONValue(parsing: bytes)?.object?.compactMap { name, value in
                    value.string.map { (name, $0) }
                }
                return members.map { Dictionary($0, uniquingKeysWith: { first, _ in first }) }
            })
        let none =
            "no keys for the store: set access_key_id and secret_access_key_file, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
        var isInstance = false
        if case .instance = role {
            isInstance = true
            do throws(StorageError) { _ = try credentials.current(refused: nil) } catch {
                if error.kind == .denied || error.kind == .notFound {
                    throw problem(configuration, "s3.url", "\(none); and \(source.name) gives none: \(error.message)")
                }
            }
        }
        let log = logger(configuration)
        // Where nothing answers it is perhaps no such machine at all.
        let hint = isInstance ? none : nil
        return { (refused, abort) throws(StorageError) in
            do throws(StorageError) { return try credentials.current(refused: refused, abort: abort) } catch {
                guard error.kind != .aborted else { throw error }
                log.warning(
                    "the store's keys cannot be had", ["of": .init(source.name), "error": .init(error.description)])
                throw StorageError(
                    error.kind, error.operation, status: error.httpStatus, code: error.code,
                    "\(source.name): \(error.message)", hint: hint)
            }
        }
    }

    private static func source(_ role: CredentialSource, region: String) -> RoleSource {
        switch role {
        case .webIdentity(let file, let name, let session, let endpoint):
            return .webIdentity(tokenFile: file, role: name, session: session, endpoint: endpoint, region: region)
        case .container(let url, let authorization, let file):
            return .container(url: url, authorization: authorization?.reveal(), authorizationFile: file)
        case .instance(let endpoint): return .instance(endpoint: endpoint)
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
