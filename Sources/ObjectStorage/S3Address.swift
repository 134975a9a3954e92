/// Where a bucket's requests go: scheme, `Host` and the path before the key.
struct S3Address: Equatable {
    /// `http` or `https`.
    let scheme: String
    /// As in the header `Host`: with the port, unless it is the scheme's own.
    let host: String
    /// Before `/<key>`: empty, or `/<bucket>`.
    let basePath: String
    /// Whether the host is this machine: then no proxy is in between, whatever the environment says.
    let isLoopback: Bool

    init(_ settings: S3Settings) throws(StorageError) {
        let endpoint = settings.endpoint ?? S3Address.defaultEndpoint(region: settings.region)
        func refuse(_ reason: String) -> StorageError {
            StorageError(.fatal, "open", "endpoint \(printable(endpoint)): \(reason)")
        }

        let separated = endpoint.split(separator: "://", maxSplits: 1, omittingEmptySubsequences: false)
        guard separated.count == 2, separated[0] == "http" || separated[0] == "https" else {
            throw refuse("must begin with http:// or https://")
        }
        scheme = String(separated[0])
        var authority = String(separated[1])
        if authority.hasSuffix("/") { authority.removeLast() }
        guard !authority.isEmpty, !authority.contains(where: { "/?#@\\ ".contains($0) || !$0.isASCII }) else {
            throw refuse("must be scheme://host[:port], without a path or a user")
        }
        guard S3Address.isBucketName(settings.bucket) else {
            throw StorageError(.fatal, "open", "bucket \(printable(settings.bucket)): not a bucket's name")
        }
        authority = authority.lowercased()
        let ownPort = scheme == "http" ? ":80" : ":443"
        if authority.hasSuffix(ownPort) { authority.removeLast(ownPort.count) }
        isLoopback =
            authority == "localhost" || authority.hasPrefix("localhost:") || authority.hasPrefix("127.")
            || authority.hasPrefix("[::1]")
        // No wildcard of a certificate stands for two labels: AWS's own tools put such a bucket into the path as well.
        let isInPath = settings.pathStyle || scheme == "https" && settings.bucket.contains(".")
        host = isInPath ? authority : "\(settings.bucket).\(authority)"
        basePath = isInPath ? "/\(settings.bucket)" : ""
    }

    static func defaultEndpoint(region: String) -> String { awsEndpoint(of: "s3", in: region) }

    private static func isBucketName(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 255
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || ".-_".contains($0)) }
    }
}

/// Where a service of AWS's is asked in a region.
func awsEndpoint(of service: String, in region: String) -> String {
    "https://\(service).\(region).amazonaws.com\(region.hasPrefix("cn-") ? ".cn" : "")"
}
