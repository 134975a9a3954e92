import ObjectStorage

/// A compressor that is used for one object after the other.
final class Packer {
    var compressor: Compressor

    init(_ compression: Compression) throws(StorageError) { compressor = try Compressor(compression) }
}

/// The compressors of objects in the making: few, whatever the number of partitions (C7). One thread owns it.
final class PackerPool {
    private let compression: Compression
    private var free: [Packer] = []
    private var left: Int

    /// - Parameter count: how many there may be at a time.
    init(_ compression: Compression, count: Int) {
        self.compression = compression
        left = compression == .none ? 0 : count
    }

    /// nil where all are in use, or there is no memory for another.
    func take() -> Packer? {
        if let packer = free.popLast() { return packer }
        guard left > 0, let packer = try? Packer(compression) else { return nil }
        left -= 1
        return packer
    }

    func give(_ packer: Packer) {
        packer.compressor.reset()
        free.append(packer)
    }
}
