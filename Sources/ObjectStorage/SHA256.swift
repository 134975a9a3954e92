import CCrypto

/// The 32 bytes of a SHA-256.
public struct SHA256Digest: Sendable, Hashable, CustomStringConvertible {
    /// 32 bytes.
    public let bytes: [UInt8]

    /// 64 lower-case hexadecimal digits.
    public var hex: String { hexadecimal(bytes) }
    /// As `hex`.
    public var description: String { hex }

    /// Reads 64 hexadecimal digits; nil for anything else.
    public init?(hex: String) {
        let digits = hex.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 64, hex.utf8.count == 64 else { return nil }
        bytes = stride(from: 0, to: 64, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// Of bytes in memory.
    public static func of(_ bytes: [UInt8]) throws(StorageError) -> SHA256Digest {
        var hasher = try SHA256Hasher()
        hasher.update(bytes.span)
        return try hasher.finish()
    }
}

/// Base 64 with padding (RFC 4648, 4).
func base64(_ bytes: [UInt8]) -> String {
    // With the zero byte that libcrypto adds.
    var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
    let length = EVP_EncodeBlock(&text, bytes, Int32(bytes.count))
    return String(decoding: text.prefix(Int(length)), as: UTF8.self)
}

/// A SHA-256 in the making. Used again after `finish` without allocating its context anew.
public struct SHA256Hasher: ~Copyable {
    private let context: OpaquePointer
    private var failed = false

    /// - Throws: `fatal` if libcrypto has no SHA-256 or no memory.
    public init() throws(StorageError) {
        guard let context = EVP_MD_CTX_new() else { throw SHA256Hasher.failure }
        guard EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
            EVP_MD_CTX_free(context)
            throw SHA256Hasher.failure
        }
        self.context = context
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Takes in the next bytes.
    public mutating func update(_ bytes: Span<UInt8>) {
        bytes.withUnsafeBytes { raw in
            if EVP_DigestUpdate(context, raw.baseAddress, raw.count) != 1 { failed = true }
        }
    }

    /// The digest of all bytes since the start or the last `finish`; the hasher then begins anew.
    /// - Throws: `fatal` if libcrypto failed on the way.
    public mutating func finish() throws(StorageError) -> SHA256Digest {
        var digest = [UInt8](repeating: 0, count: 32)
        let ended = EVP_DigestFinal_ex(context, &digest, nil)
        let began = EVP_DigestInit_ex(context, EVP_sha256(), nil)
        let ok = !failed && ended == 1 && began == 1
        failed = false
        guard ok else { throw SHA256Hasher.failure }
        return SHA256Digest(bytes: digest)
    }

    fileprivate static var failure: StorageError {
        StorageError(.fatal, "hash", "libcrypto could not compute a SHA-256")
    }
}

/// HMAC-SHA-256 of `message` under `key` (RFC 2104).
func hmacSHA256(key: [UInt8], _ message: [UInt8]) throws(StorageError) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 0
    // The key's length is an Int32 there; ours are at most a secret's length.
    guard let keyLength = Int32(exactly: key.count),
        HMAC(EVP_sha256(), key, keyLength, message, message.count, &result, &length) != nil, length == 32
    else { throw SHA256Hasher.failure }
    return result
}

func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}
