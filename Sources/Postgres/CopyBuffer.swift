import CPostgres

/// Owns one buffer of `PQgetCopyData`.
struct CopyBuffer: ~Copyable {
    private let start: UnsafeMutablePointer<CChar>
    private let count: Int

    init(_ start: UnsafeMutablePointer<CChar>, count: Int) {
        self.start = start
        self.count = count
    }

    deinit { PQfreemem(start) }

    /// The message.
    var bytes: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            let raw = UnsafeRawPointer(start).assumingMemoryBound(to: UInt8.self)
            // Sound: the memory is ours until deinit.
            return _overrideLifetime(Span(_unsafeStart: raw, count: count), borrowing: self)
        }
    }
}
