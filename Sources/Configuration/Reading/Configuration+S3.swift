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
        var keys: (credentials: Credentials?, region: String?) = (nil, nil)
        if case .directory = location {
            // No keys, and none are looked for; two of a kind are still a mistake.
            _ = section.secret("secret_access_key", wanted: false)
            _ = section.secret("session_token", wanted: false)
        } else {
            keys = CredentialSearch(section: section).run(wanted: isSinking && location != nil)
        }
        let region = section.text("region") ?? keys.region ?? "us-east-1"
        return S3(
            location: location ?? .directory("/"),
            endpoint: endpoint,
            region: region,
            pathStyle: section.bool("path_style", default: endpoint != nil),
            credentials: keys.credentials,
            caFile: section.text("ca_file"),
            compression: section.choice("compression", .none),
            conditional: section.choice("conditional", .required),
            rotate: Rotate(
                bytes: rotate.size("bytes", 1...(5 << 30)),
                age: rotate.duration("age", from: .seconds(1))),
            sealAfter: section.duration("seal_after", from: .seconds(1)))
    }

    /// Scheme, host and port alone, without a slash at the end.
    private static func readEndpoint(_ text: String) -> String? {
        guard let rest = text.dropping("http://") ?? text.dropping("https://") else { return nil }
        let host = rest.last == "/" ? rest.dropLast() : rest
        guard HostAndPort.split(String(host)) != nil else { return nil }
        return rest.last == "/" ? String(text.dropLast()) : text
    }
}

/// Where the keys of a store come from: the file, else the profile it names, else the environment, else the default profile. Never a mixture.
struct CredentialSearch {
    let section: Section
    private var context: ReadingContext { section.context }

    init(section: Section) {
        self.section = section
    }

    func run(wanted: Bool) -> (credentials: Credentials?, region: String?) {
        let profileName = section.text("profile") ?? context.variable("AWS_PROFILE") ?? "default"
        let region = context.variable("AWS_REGION") ?? context.variable("AWS_DEFAULT_REGION")
        let secret = section.secret("secret_access_key", wanted: wanted)
        let token = section.secret("session_token", wanted: wanted)
        let own = [
            "access_key_id", "secret_access_key", "secret_access_key_file", "session_token", "session_token_file",
        ].filter(section.has)
        if let first = own.first, section.has("profile") {
            section.report("profile", "given together with \(first); leave one of them out")
            return (nil, region)
        }
        guard wanted else { return (nil, region) }
        if !own.isEmpty {
            return (fromFile(secret: secret, token: token), region ?? profile(profileName, "config")?["region"])
        }
        if !section.has("profile"), let found = fromEnvironment() {
            return (found, region ?? profile(profileName, "config")?["region"])
        }
        let found = fromProfile(profileName)
        if found == nil, context.isSound("s3.profile") {
            let place = section.has("profile") ? "profile" : "url"
            section.report(
                place,
                "no keys for the store: set access_key_id and secret_access_key_file, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                    + "or a profile; profile \(profileName) has none in \(path("credentials") ?? "~/.aws/credentials")")
        }
        return (found, region ?? profile(profileName, "config")?["region"])
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
