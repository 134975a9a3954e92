/// Keys to sign requests to a store with.
public struct Credentials: Sendable, Equatable {
    /// `access_key_id`: no secret, but never logged either.
    public var accessKeyID: String
    /// `secret_access_key`
    public var secretAccessKey: Secret
    /// `session_token` of temporary keys.
    public var sessionToken: Secret?
    /// Where they came from, for a log line: `sluice.yaml`, `environment` or `profile NAME`.
    public var origin: String
}

/// A role whose keys a service gives, as AWS's own tools find it.
public enum CredentialSource: Sendable, Equatable {
    /// AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME; AWS_ENDPOINT_URL_STS names another token service.
    case webIdentity(tokenFile: String, role: String, session: String, endpoint: String?)
    /// AWS_CONTAINER_CREDENTIALS_FULL_URI, or _RELATIVE_URI; AWS_CONTAINER_AUTHORIZATION_TOKEN, or _TOKEN_FILE.
    case container(url: String, authorization: Secret?, authorizationFile: String?)
    /// The machine's metadata service; AWS_EC2_METADATA_SERVICE_ENDPOINT names another address.
    case instance(endpoint: String)
}

/// An AWS configuration file: `[profile]` sections of `key = value`.
enum INIFile {
    /// The keys of one section; nil where there is no such section. A repeated section adds to the first, a repeated key replaces.
    static func section(_ name: String, in text: String) -> [String: String]? {
        var values: [String: String]?
        var inside = false
        for raw in text.split(whereSeparator: \.isNewline) {
            let line = raw.trimmingBlanks()
            if line.isEmpty || line.first == "#" || line.first == ";" { continue }
            if line.first == "[" {
                let title = line.dropFirst().prefix { $0 != "]" }.trimmingBlanks()
                // ~/.aws/config writes `[profile NAME]`, ~/.aws/credentials `[NAME]`.
                inside = title == name || title.split(separator: " ").elementsEqual(["profile", Substring(name)])
                if inside, values == nil { values = [:] }
            } else if inside, raw.first != " ", raw.first != "\t", let equals = line.firstIndex(of: "=") {
                let key = line[..<equals].trimmingBlanks().lowercased()
                values?[key] = String(line[line.index(after: equals)...].trimmingBlanks())
            }
        }
        return values
    }
}

extension Substring {
    func trimmingBlanks() -> Substring {
        var text = self.drop { $0 == " " || $0 == "\t" || $0 == "\r" }
        while let last = text.last, last == " " || last == "\t" || last == "\r" { text.removeLast() }
        return text
    }
}
