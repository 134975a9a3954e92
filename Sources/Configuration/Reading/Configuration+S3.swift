extension Configuration {
    static func readS3(_ top: Section) -> S3? {
        guard top.has("s3") else {
            if top.context.purpose.needsStore {
                top.context.report("s3", at: nil, "missing; the sink needs at least s3.url (or run with --only stream)")
            }
            return nil
        }
        let section = top.section("s3")
        let location = section.parsed(
            "url", allowed: "s3://bucket/prefix or file:///directory", required: true, ObjectLocation.init)
        let endpoint = section.parsed("endpoint", allowed: "http://host:port or https://host:port", readEndpoint)
        let rotate = section.section("rotate")
        let isSinking = top.context.purpose.sinks
        var keys = CredentialSearch.Found()
        if case .directory = location {
            // No keys, and none are looked for; two of a kind are still a mistake.
            _ = section.secret("secret_access_key", wanted: false)
            _ = section.secret("session_token", wanted: false)
        } else {
            keys = CredentialSearch(section: section, isAWS: endpoint == nil).run(wanted: isSinking && location != nil)
        }
        let region = section.text("region") ?? keys.region ?? "us-east-1"
        let (encryption, kmsKeyID, acl) = readHeaders(section, location)
        return S3(
            location: location ?? .directory("/"),
            endpoint: endpoint,
            region: region,
            pathStyle: section.bool("path_style", default: endpoint != nil),
            credentials: keys.credentials, role: keys.role,
            caFile: section.text("ca_file"),
            encryption: encryption, kmsKeyID: kmsKeyID, acl: acl,
            compression: section.choice("compression", .none),
            conditional: section.choice("conditional", .required),
            rotate: Rotate(
                bytes: rotate.size("bytes", 1...(4 << 30)),
                age: rotate.duration("age", from: .seconds(1))),
            sealAfter: section.duration("seal_after", from: .seconds(1)))
    }

    /// What each put says beside its object.
    private static func readHeaders(
        _ section: Section, _ location: ObjectLocation?
    ) -> (S3.Encryption, kmsKeyID: String?, S3.ACL) {
        let encryption: S3.Encryption = section.choice("encryption", .off)
        let acl: S3.ACL = section.choice("acl", .off)
        let keyID = section.parsed("kms_key_id", allowed: "the id, ARN or alias of a key, without blanks") { text in
            (1...2048).contains(text.utf8.count) && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } ? text : nil
        }
        if case .directory = location {
            let given = [("encryption", encryption != .off), ("kms_key_id", keyID != nil), ("acl", acl != .off)]
            for (key, _) in given.filter(\.1) {
                section.report(key, "is for a bucket, and s3.url is a directory: leave it out")
            }
        } else if keyID != nil, encryption != .kms, section.context.isSound("s3.encryption") {
            section.report(
                "kms_key_id", "is only for encryption: aws:kms, and s3.encryption is \(encryption.rawValue)")
        }
        return (encryption, keyID, acl)
    }

    /// Scheme, host and port alone, without a slash at the end.
    private static func readEndpoint(_ text: String) -> String? {
        guard let rest = text.dropping("http://") ?? text.dropping("https://") else { return nil }
        let host = rest.last == "/" ? rest.dropLast() : rest
        guard HostAndPort.split(String(host)) != nil else { return nil }
        return rest.last == "/" ? String(text.dropLast()) : text
    }
}

/// Where the keys of a store come from: the file, else the profile it names, else the environment, the pod's role, the default profile, the
/// container's role, the machine's. Never a mixture.
struct CredentialSearch {
    /// One of the two, or neither.
    struct Found {
        var credentials: Credentials?
        var role: CredentialSource?
        var region: String?
    }

    let section: Section
    /// Whether no other server is named: then the machine may be one of AWS's.
    let isAWS: Bool
    private var context: ReadingContext { section.context }

    init(section: Section, isAWS: Bool) {
        self.section = section
        self.isAWS = isAWS
    }

    func run(wanted: Bool) -> Found {
        let profileName = section.text("profile") ?? context.variable("AWS_PROFILE") ?? "default"
        let region = context.variable("AWS_REGION") ?? context.variable("AWS_DEFAULT_REGION")
        let secret = section.secret("secret_access_key", wanted: wanted)
        let token = section.secret("session_token", wanted: wanted)
        let own = [
            "access_key_id", "secret_access_key", "secret_access_key_file", "session_token", "session_token_file",
        ].filter(section.has)
        if let first = own.first, section.has("profile") {
            section.report("profile", "given together with \(first); leave one of them out")
            return Found(region: region)
        }
        guard wanted else { return Found(region: region) }
        let profileRegion = profile(profileName, "config")?["region"]
        func found(_ credentials: Credentials?, _ role: CredentialSource? = nil) -> Found {
            Found(credentials: credentials, role: role, region: region ?? profileRegion)
        }
        if !own.isEmpty { return found(fromFile(secret: secret, token: token)) }
        if !section.has("profile") {
            if let keys = fromEnvironment() { return found(keys) }
            if let role = webIdentity() { return found(nil, role) }
        }
        if let keys = fromProfile(profileName) { return found(keys) }
        if !section.has("profile"), let role = container() ?? instance() { return found(nil, role) }
        if context.isSound("s3.profile") {
            let place = section.has("profile") ? "profile" : "url"
            section.report(
                place,
                "no keys for the store: set access_key_id and secret_access_key_file, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                    + "or a profile; profile \(profileName) has none in \(path("credentials") ?? "~/.aws/credentials")")
        }
        return found(nil)
    }

    private func webIdentity() -> CredentialSource? {
        guard let file = context.variable("AWS_WEB_IDENTITY_TOKEN_FILE"), let role = context.variable("AWS_ROLE_ARN")
        else { return nil }
        return .webIdentity(
            tokenFile: file, role: role, session: context.variable("AWS_ROLE_SESSION_NAME") ?? "sluice",
            endpoint: context.variable("AWS_ENDPOINT_URL_STS"))
    }

    private func container() -> CredentialSource? {
        // The address that ECS gives its agent in each container.
        let relative = context.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map { "http://169.254.170.2\($0)" }
        guard let url = relative ?? context.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") else { return nil }
        return .container(
            url: url, authorization: context.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map { Secret($0) },
            authorizationFile: context.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
    }

    private func instance() -> CredentialSource? {
        guard isAWS, context.variable("AWS_EC2_METADATA_DISABLED")?.lowercased() != "true" else { return nil }
        return .instance(
            endpoint: context.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") ?? "http://169.254.169.254")
    }

    private func fromFile(secret: Secret?, token: Secret?) -> Credentials? {
        let id = section.text("access_key_id", required: true)
        if !section.has("secret_access_key") && !section.has("secret_access_key_file") {
            section.report("secret_access_key", "missing beside access_key_id; set it, or secret_access_key_file")
        }
        guard let id, let secret else { return nil }
        return Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: token, origin: context.source.file)
    }

    private func fromEnvironment() -> Credentials? {
        guard let id = context.variable("AWS_ACCESS_KEY_ID"), let secret = context.variable("AWS_SECRET_ACCESS_KEY")
        else { return nil }
        return Credentials(
            accessKeyID: id, secretAccessKey: Secret(secret),
            sessionToken: context.variable("AWS_SESSION_TOKEN").map { Secret($0) }, origin: "environment")
    }

    private func fromProfile(_ name: String) -> Credentials? {
        // AWS's own tools take keys from either file.
        for file in ["credentials", "config"] {
            guard let keys = profile(name, file), let id = keys["aws_access_key_id"],
                let secret = keys["aws_secret_access_key"],
                !id.isEmpty, !secret.isEmpty
            else { continue }
            return Credentials(
                accessKeyID: id, secretAccessKey: Secret(secret),
                sessionToken: keys["aws_session_token"].map { Secret($0) }, origin: "profile \(name)")
        }
        return nil
    }

    private func path(_ file: String) -> String? {
        let variable = file == "config" ? "AWS_CONFIG_FILE" : "AWS_SHARED_CREDENTIALS_FILE"
        return context.variable(variable) ?? context.variable("HOME").map { "\($0)/.aws/\(file)" }
    }

    /// The keys of a profile; nil where there is no such file or profile. A file that cannot be read is the same as none: it is optional.
    private func profile(_ name: String, _ file: String) -> [String: String]? {
        guard let path = path(file), let bytes = try? context.readFile(path) else { return nil }
        return INIFile.section(name, in: String(decoding: bytes, as: UTF8.self))
    }
}
