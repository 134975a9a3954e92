import Dates

/// Where the keys of a role come from, as AWS's own tools find them.
public enum RoleSource: Sendable, Equatable {
    /// A token that the cluster has signed, exchanged at AWS's token service (IRSA): the file is read each time, since it is renewed.
    /// - endpoint: of the service, `https://sts.<region>.amazonaws.com`.
    case webIdentity(tokenFile: String, role: String, session: String, endpoint: String)
    /// The same at AWS's own token service of a region, where no other is named.
    public static func webIdentity(
        tokenFile: String, role: String, session: String, endpoint: String?, region: String
    ) -> RoleSource {
        .webIdentity(
            tokenFile: tokenFile, role: role, session: session,
            endpoint: endpoint ?? awsEndpoint(of: "sts", in: region))
    }
    /// The container's own service (ECS, EKS Pod Identity).
    /// - authorization: what it wants to be shown, or the file that holds it.
    case container(url: String, authorization: String?, authorizationFile: String?)
    /// The metadata service of the machine (IMDSv2): `http://169.254.169.254`.
    case instance(endpoint: String)

    /// Its name for people.
    public var name: String {
        switch self {
        case .webIdentity(_, let role, _, _): "the web identity of role \(printable(role))"
        case .container: "the container's credentials"
        case .instance: "the instance's metadata service"
        }
    }
}

/// What one source asks, and how its answers are read. Temporary keys alone: an answer without an end is refused.
struct RoleRequest {
    /// The members of a JSON object that are strings; nil for bytes that are no object. Reading JSON is not this module's business.
    typealias StringMembers = @Sendable ([UInt8]) -> [String: String]?

    let source: RoleSource
    let transport: HTTPTransport
    let readFile: @Sendable (String) -> [UInt8]?
    let members: StringMembers
    private static let operation = "credentials"

    func run() throws(StorageError) -> S3Credentials {
        switch source {
        case .webIdentity(let file, let role, let session, let endpoint):
            return try webIdentity(try text(of: file), role, session, endpoint)
        case .container(let url, let authorization, let file):
            guard Self.isTrusted(url) else {
                throw Self.refuse("\(printable(url)) is neither https nor an address of this machine or its host")
            }
            var value = authorization
            if let file { value = try text(of: file) }
            let headers = value.map { [HeaderField(name: "authorization", value: $0)] } ?? []
            return try read(json: try ask(.get, url, headers).body)
        case .instance(let endpoint): return try instance(endpoint)
        }
    }

    private func webIdentity(
        _ token: String, _ role: String, _ session: String, _ endpoint: String
    ) throws(StorageError) -> S3Credentials {
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"), ("Version", "2011-06-15"), ("RoleArn", role),
            ("RoleSessionName", session), ("WebIdentityToken", token),
        ]
        let form = fields.map { "\($0.0)=\(PercentEncoding.encode($0.1, keepsSlash: false))" }.joined(separator: "&")
        // Not in the address: proxies and servers write that into their logs, and the token is good for hours.
        let kind = HeaderField(name: "content-type", value: "application/x-www-form-urlencoded")
        let answer = try ask(.post, "\(endpoint)/", [kind], body: Array(form.utf8))
        let result = (try? XMLReader.read(answer.body))?.children.first { $0.name == "AssumeRoleWithWebIdentityResult" }
        let keys = result?.children.first { $0.name == "Credentials" }
        return try credentials(
            keys?["AccessKeyId"], keys?["SecretAccessKey"], keys?["SessionToken"], keys?["Expiration"])
    }

    private func instance(_ endpoint: String) throws(StorageError) -> S3Credentials {
        let base = endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint
        let life = HeaderField(name: "x-aws-ec2-metadata-token-ttl-seconds", value: "21600")
        let token = try ask(.put, base + "/latest/api/token", [life]).body
        let shown = [HeaderField(name: "x-aws-ec2-metadata-token", value: String(decoding: token, as: UTF8.self))]
        let folder = base + "/latest/meta-data/iam/security-credentials/"
        let listed = String(decoding: try ask(.get, folder, shown).body, as: UTF8.self)
        guard let role = listed.split(whereSeparator: \.isNewline).first else {
            throw Self.refuse("the instance has no role")
        }
        return try read(
            json: try ask(.get, folder + PercentEncoding.encode(String(role), keepsSlash: false), shown).body)
    }

    // MARK: Answers

    private func ask(
        _ method: HTTPRequest.Method, _ url: String, _ headers: [HeaderField], body: [UInt8] = []
    ) throws(StorageError) -> HTTPResponse {
        guard headers.allSatisfy({ ObjectKey.isHeaderValue($0.value) }) else {
            throw Self.refuse("the token is not printable ASCII")
        }
        let answer: HTTPResponse
        do throws(TransportFailure) {
            answer = try transport.perform(
                HTTPRequest(method: method, url: url, headers: headers, body: .bytes(body), timeout: .seconds(10)))
        } catch { throw StorageError(error, Self.operation, key: nil) }
        guard answer.status == 200 else {
            // The token service wraps what it says in a document of its own.
            let document = (try? XMLReader.read(answer.body))?.children.first { $0.name == "Error" }
            let why = document?["Code"].map { " (\(printable($0, limit: 80)))" } ?? ""
            throw StorageError(
                answer.status >= 500 || answer.status == 429 ? .transient : .denied, Self.operation, key: nil,
                status: answer.status, "\(source.name) answers \(answer.status)\(why)")
        }
        return answer
    }

    private func read(json: [UInt8]) throws(StorageError) -> S3Credentials {
        guard let members = members(json) else { throw Self.refuse("\(source.name): the answer is no JSON object") }
        return try credentials(
            members["AccessKeyId"], members["SecretAccessKey"], members["Token"], members["Expiration"])
    }

    private func credentials(
        _ id: String?, _ secret: String?, _ token: String?, _ expiration: String?
    ) throws(StorageError) -> S3Credentials {
        guard let id, let secret, let token, let expiration, let end = CivilDate.unixSeconds(iso: expiration) else {
            throw Self.refuse("\(source.name): the answer lacks a key, the token or its end")
        }
        return S3Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: token, expiresAt: end)
    }

    private func text(of file: String) throws(StorageError) -> String {
        guard let bytes = readFile(file) else {
            throw Self.refuse("the token's file \(printable(file)) cannot be read")
        }
        let text = String(decoding: bytes, as: UTF8.self)
        return String(text[..<(text.lastIndex { !$0.isWhitespace }.map(text.index(after:)) ?? text.startIndex)])
    }

    private static func refuse(_ why: String) -> StorageError { StorageError(.denied, operation, key: nil, why) }

    /// Keys are asked for in the clear only of this machine, and of what stands for its host (169.254.170.2 on ECS, .23 on EKS).
    static func isTrusted(_ url: String) -> Bool {
        if url.hasPrefix("https://") { return true }
        guard url.hasPrefix("http://") else { return false }
        let authority = url.dropFirst("http://".count).prefix { $0 != "/" && $0 != "?" }
        if authority.contains("@") { return false }
        if authority.hasPrefix("[") {
            let host = authority.dropFirst().prefix { $0 != "]" }
            return host == "::1" || host == "fd00:ec2::23"
        }
        let host = authority.prefix { $0 != ":" }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let isAddress = parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
        return host == "localhost"
            || isAddress && (parts[0] == "127" || ["169.254.170.2", "169.254.170.23"].contains(host))
    }
}
