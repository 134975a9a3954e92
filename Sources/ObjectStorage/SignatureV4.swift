import Dates

/// A time in UTC in the two spellings of SigV4, from seconds since 1970: the calendar is computed here, without a library.
struct SigningTime: Equatable {
    /// `YYYYMMDD`
    let day: String
    /// `YYYYMMDDTHHMMSSZ`
    let stamp: String

    init(unixSeconds: Int64) {
        let days = Int((Double(unixSeconds) / 86_400).rounded(.down))
        let second = Int(unixSeconds) - days * 86_400
        let date = CivilDate(daysSince1970: days)
        day = padded(date.year, 4) + padded(date.month, 2) + padded(date.day, 2)
        stamp = day + "T" + padded(second / 3600, 2) + padded(second / 60 % 60, 2) + padded(second % 60, 2) + "Z"
    }
}

/// One header field; the name in lower case.
struct HeaderField: Equatable {
    let name: String
    let value: String
}

/// A request as it is signed.
struct SignableRequest {
    var method: String
    /// Not encoded, beginning with a slash.
    var path: String
    /// Not encoded, in any order.
    var query: [(name: String, value: String)] = []
    /// All that are to be signed, `host` among them.
    var headers: [HeaderField]
    /// Lower-case hexadecimal SHA-256 of the body.
    var payloadHash: String

    /// How path and query are spelt where they are signed. What is sent is always strict.
    var spelling = Spelling.strict

    enum Spelling {
        /// As AWS and all who follow it verify.
        case strict
        /// As servers verify that have decoded the URL before: see `PercentEncoding.encodeLoosely`.
        case decoded
    }

    /// The path as it is sent.
    var encodedPath: String { encodedPath(.strict) }

    /// The query as it is sent: sorted.
    var encodedQuery: String { encodedQuery(.strict) }

    /// Whether the two spellings differ at all.
    var dependsOnSpelling: Bool {
        !KeyOrder.equal(encodedPath, encodedPath(.decoded)) || !KeyOrder.equal(encodedQuery, encodedQuery(.decoded))
    }

    private func encodedPath(_ spelling: Spelling) -> String {
        switch spelling {
        case .strict: PercentEncoding.encode(path, keepsSlash: true)
        case .decoded: PercentEncoding.encodeLoosely(path, isQuery: false)
        }
    }

    private func encodedQuery(_ spelling: Spelling) -> String {
        func encode(_ text: String) -> String {
            switch spelling {
            case .strict: PercentEncoding.encode(text, keepsSlash: false)
            case .decoded: PercentEncoding.encodeLoosely(text, isQuery: true)
            }
        }
        return query.map { (encode($0.name), encode($0.value)) }
            .sorted { KeyOrder.equal($0.0, $1.0) ? KeyOrder.precedes($0.1, $1.1) : KeyOrder.precedes($0.0, $1.0) }
            .map { "\($0.0)=\($0.1)" }.joined(separator: "&")
    }

    fileprivate var sortedHeaders: [HeaderField] { headers.sorted { KeyOrder.precedes($0.name, $1.name) } }

    var signedHeaders: String { sortedHeaders.map(\.name).joined(separator: ";") }

    /// AWS, "Create a canonical request".
    var canonical: String {
        let fields = sortedHeaders.map { "\($0.name):\(SignableRequest.trimmed($0.value))\n" }.joined()
        return [method, encodedPath(spelling), encodedQuery(spelling), fields, signedHeaders, payloadHash].joined(
            separator: "\n")
    }

    /// Outer spaces go, inner runs of them become one.
    private static func trimmed(_ value: String) -> String {
        value.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
}

/// AWS Signature Version 4, in the header `Authorization`.
struct SignatureV4 {
    let accessKeyID: String
    let secretAccessKey: String
    let region: String
    var service = "s3"

    /// The value of `Authorization`.
    func authorization(_ request: SignableRequest, at time: SigningTime) throws(StorageError) -> String {
        let scope = "\(time.day)/\(region)/\(service)/aws4_request"
        let hash = try SHA256Digest.of(Array(request.canonical.utf8)).hex
        let toSign = "AWS4-HMAC-SHA256\n\(time.stamp)\n\(scope)\n\(hash)"
        let signature = hexadecimal(try hmacSHA256(key: signingKey(day: time.day), Array(toSign.utf8)))
        return "AWS4-HMAC-SHA256 Credential=\(accessKeyID)/\(scope),"
            + "SignedHeaders=\(request.signedHeaders),Signature=\(signature)"
    }

    /// The key of one day, region and service.
    func signingKey(day: String) throws(StorageError) -> [UInt8] {
        var key = Array("AWS4\(secretAccessKey)".utf8)
        for part in [day, region, service, "aws4_request"] {
            key = try hmacSHA256(key: key, Array(part.utf8))
        }
        return key
    }
}
