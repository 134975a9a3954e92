import ObjectStorage

extension StoreLocation {
    /// A digest of where the store is. Tells one from another: an offset that was committed for another one says nothing about this one.
    func digest() throws(StorageError) -> String {
        String(try SHA256Digest.of(Array(identity.utf8)).hex.prefix(16))
    }

    private var identity: String {
        switch self {
        case .s3(let settings): "s3 \(settings.endpoint ?? settings.region) \(settings.bucket) \(settings.prefix)"
        case .file(let settings): "file \(settings.root)"
        }
    }
}
