/// `<Error>`, as every refusal carries it, but for the answers to HEAD.
struct S3ErrorDocument: Equatable {
    let code: String
    let message: String
    /// Where a bucket really is (`PermanentRedirect`, `AuthorizationHeaderMalformed`).
    let region: String?

    /// nil if the bytes are anything else: proxies answer in HTML.
    init?(_ bytes: [UInt8]) {
        guard let root = try? XMLReader.read(bytes), root.name == "Error", let code = root["Code"] else { return nil }
        self.code = printable(code, limit: 80)
        message = printable(root["Message"] ?? "")
        region = root["Region"].map { printable($0, limit: 40) }
    }
}

/// `<ListBucketResult>` of ListObjectsV2.
struct S3ListDocument: Equatable {
    let objects: [ListedObject]
    let commonPrefixes: [String]
    let continuationToken: String?

    /// - Parameter prefix: the store's own, with its slash: every key begins with it and is given without.
    init(_ bytes: [UInt8], removing prefix: String) throws(XMLError) {
        let root = try XMLReader.read(bytes)
        guard root.name == "ListBucketResult" else { throw XMLError(reason: "not a ListBucketResult", offset: 0) }
        let isEncoded = root["EncodingType"] == "url"
        func key(_ text: String?) throws(XMLError) -> String {
            guard let text, let key = isEncoded ? PercentEncoding.decodeForm(text) : text,
                KeyOrder.starts(key, with: prefix)
            else { throw XMLError(reason: "a key that was not asked for", offset: 0) }
            return KeyOrder.dropping(prefix.utf8.count, of: key)
        }
        var objects: [ListedObject] = []
        var prefixes: [String] = []
        for child in root.children {
            if child.name == "Contents" {
                guard let size = child["Size"].flatMap({ Int64($0) }), size >= 0 else {
                    throw XMLError(reason: "an object without a size", offset: 0)
                }
                objects.append(ListedObject(key: try key(child["Key"]), size: size))
            } else if child.name == "CommonPrefixes" {
                prefixes.append(try key(child["Prefix"]))
            }
        }
        // AWS sorts; some servers do not.
        self.objects = objects.sorted { KeyOrder.precedes($0.key, $1.key) }
        commonPrefixes = prefixes.sorted(by: KeyOrder.precedes)
        guard root["IsTruncated"] == "true" else {
            continuationToken = nil
            return
        }
        guard let token = root["NextContinuationToken"], !token.isEmpty else {
            throw XMLError(reason: "a cut listing without its continuation", offset: 0)
        }
        continuationToken = token
    }
}
