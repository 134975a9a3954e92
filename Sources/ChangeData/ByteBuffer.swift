/// Owned bytes that grow at the end. The one file of this module with unsafe code: it exists so that a row is written
/// without an allocation and with one copy a column.
///
/// Invariants that make the unsafe code sound: `base` points to `capacity` bytes which this value alone owns (it is not
/// copyable) and frees once; `0 <= count <= capacity`; the bytes before `count` are initialised. Every write reserves
/// first. The memory moves only inside a call that appends.
@safe
public struct ByteBuffer: ~Copyable {
    private var base: UnsafeMutableRawPointer
    private(set) var capacity: Int
    /// The number of bytes.
    public private(set) var count = 0

    /// An empty buffer with room for so many bytes.
    public init(capacity: Int = 256) {
        self.capacity = max(capacity, 16)
        // Sound: a fresh allocation of the capacity stated above.
        unsafe base = UnsafeMutableRawPointer.allocate(byteCount: self.capacity, alignment: 16)
    }

    deinit {
        // Sound: allocated in init or grow, owned by this value alone, freed only here and on growth.
        unsafe base.deallocate()
    }

    /// The bytes.
    public var span: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            // Sound: the first `count` bytes are initialised, and the span's lifetime is bound to a borrow of self,
            // so that nothing can grow or free the memory while it is used.
            let typed = unsafe base.assumingMemoryBound(to: UInt8.self)
            let span = unsafe Span(_unsafeStart: typed, count: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Gives the bytes, where a span could not be returned.
    public func withSpan<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try body(span)
    }

    /// The bytes for C code. The pointer holds during the call, and beyond it as long as nothing is appended to the
    /// buffer and it is not emptied or freed: who keeps it longer must see to that.
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        // Sound inside the call: self is borrowed, the first `count` bytes are initialised.
        try unsafe body(UnsafeRawBufferPointer(start: base, count: count))
    }

    /// Removes all bytes; keeps the memory unless it is larger than `limit`.
    public mutating func removeAll(keepingCapacityUpTo limit: Int = .max) {
        count = 0
        if capacity > limit { reallocate(to: max(limit, 16)) }
    }

    /// Removes the bytes from `newCount` on; a count beyond the end changes nothing.
    public mutating func truncate(to newCount: Int) {
        count = min(count, max(newCount, 0))
    }

    /// Removes the first bytes; keeps the memory unless it is larger than `limit` and the rest needs no more.
    public mutating func removeFirst(_ number: Int, keepingCapacityUpTo limit: Int = .max) {
        let rest = max(count - max(number, 0), 0)
        // Sound: the `rest` last of `count` initialised bytes; `copyMemory` lets the regions overlap.
        unsafe base.copyMemory(from: base + (count - rest), byteCount: rest)
        count = rest
        if capacity > limit, rest <= limit { reallocate(to: max(limit, 16)) }
    }

    /// Makes room for so many more bytes.
    @inline(__always)
    public mutating func reserve(_ additional: Int) {
        if capacity &- count < additional { grow(additional) }
    }

    @inline(never)
    private mutating func grow(_ additional: Int) {
        reallocate(to: max(count + additional, capacity * 2))
    }

    private mutating func reallocate(to newCapacity: Int) {
        // Sound: the new block is not smaller than `count`; the old one is freed once and forgotten.
        let fresh = UnsafeMutableRawPointer.allocate(byteCount: newCapacity, alignment: 16)
        unsafe fresh.copyMemory(from: base, byteCount: count)
        unsafe base.deallocate()
        unsafe base = fresh
        capacity = newCapacity
    }

    /// Appends one byte.
    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        reserve(1)
        // Sound: one byte of room was reserved.
        unsafe base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count &+= 1
    }

    /// Appends a number's eight bytes, the lowest first.
    public mutating func append(littleEndian number: UInt64) {
        reserve(8)
        // Sound: eight bytes of room were reserved; no alignment is asked for.
        unsafe base.storeBytes(of: number.littleEndian, toByteOffset: count, as: UInt64.self)
        count &+= 8
    }

    /// Appends bytes.
    @inline(__always)
    public mutating func append(_ bytes: Span<UInt8>) {
        let length = bytes.count
        reserve(length)
        // Sound: the room was reserved; the source is a borrowed span and cannot be our own memory, which `mutating`
        // holds exclusively.
        unsafe bytes.withUnsafeBufferPointer { source in
            if let start = source.baseAddress { unsafe (base + count).copyMemory(from: start, byteCount: length) }
        }
        count &+= length
    }

    /// Appends a text of the program itself, in UTF-8.
    @inline(__always)
    public mutating func append(_ text: StaticString) {
        let length = text.utf8CodeUnitCount
        reserve(length)
        // Sound: a static string with pointer representation (all but single-scalar ones made by hand) lives for ever
        // and has `utf8CodeUnitCount` bytes.
        if text.hasPointerRepresentation {
            unsafe (base + count).copyMemory(from: text.utf8Start, byteCount: length)
            count &+= length
        }
    }

    /// Appends the UTF-8 of a string. Not for the path of rows.
    public mutating func append(utf8 text: String) {
        for byte in text.utf8 { append(byte) }
    }

    /// Appends a number in decimal.
    @inline(__always)
    public mutating func append(decimal number: some FixedWidthInteger & SignedInteger) {
        if number < 0 { append(UInt8(ascii: "-")) }
        append(decimal: UInt64(number.magnitude))
    }

    /// Appends a number in decimal.
    public mutating func append(decimal number: some FixedWidthInteger & UnsignedInteger) {
        var rest = UInt64(number)
        var length = 1
        var bound: UInt64 = 10
        while rest >= bound {
            length &+= 1
            if length == 20 { break }
            bound &*= 10
        }
        reserve(length)
        var place = count &+ length
        count = place
        // Sound: `length` is the number of digits (at most 20), reserved above; the loop writes exactly these places.
        while rest >= 10 {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            place &-= 1
            unsafe base.storeBytes(of: UInt8(truncatingIfNeeded: digit) &+ 0x30, toByteOffset: place, as: UInt8.self)
            rest = quotient
        }
        unsafe base.storeBytes(of: UInt8(truncatingIfNeeded: rest) &+ 0x30, toByteOffset: place &- 1, as: UInt8.self)
    }

    /// Appends the text of a JSON string without its quotes, as Jackson writes it: short escapes where there are,
    /// `\u001F` for other control characters, surrogate pairs for characters above U+FFFF, all else as it is.
    /// Throws where the bytes are not UTF-8; then a part of them has been appended. With `escapesPairs` false
    /// characters above U+FFFF stay as they are too.
    public mutating func append(jsonText bytes: Span<UInt8>, escapesPairs: Bool = true) throws(ValueFailure) {
        let length = bytes.count
        reserve(length)
        var from = 0
        while from < length {
            let clean = ByteBuffer.cleanPrefix(bytes, from: from)
            if clean > from { append(bytes.extracting(from..<clean)) }
            from = clean
            if from < length { from = try appendSpecial(bytes, at: from, escapesPairs) }
        }
    }

    /// The end of the run of bytes from `from` on that JSON text holds as they are: ASCII but controls, quote and backslash.
    @inline(__always)
    private static func cleanPrefix(_ bytes: Span<UInt8>, from: Int) -> Int {
        // Sound: every load lies inside the span's `count` bytes, checked by the loops' conditions.
        unsafe bytes.withUnsafeBytes { raw in
            var offset = from
            while offset &+ 8 <= raw.count {
                let word = UInt64(littleEndian: unsafe raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                let special = specialBytes(word)
                if special != 0 { return offset &+ special.trailingZeroBitCount / 8 }
                offset &+= 8
            }
            while offset < raw.count {
                let byte = unsafe raw.load(fromByteOffset: offset, as: UInt8.self)
                if byte < 0x20 || byte >= 0x80 || byte == 0x22 || byte == 0x5C { return offset }
                offset &+= 1
            }
            return offset
        }
    }

    /// The end of the run of decimal digits from `from` on.
    @inline(__always)
    static func digitsEnd(_ bytes: Span<UInt8>, from: Int) -> Int {
        // Sound: every load lies inside the span's `count` bytes, checked by the loops' conditions.
        unsafe bytes.withUnsafeBytes { raw in
            var offset = from
            while offset &+ 8 <= raw.count {
                let word = UInt64(littleEndian: unsafe raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                // A digit has the high half 3, and still has it after 6 is added. No carry leaves a byte below 0xFA,
                // and a byte of 0xFA and more is marked itself, before the byte that its carry reaches.
                let halves: UInt64 = 0xF0F0_F0F0_F0F0_F0F0
                let threes: UInt64 = 0x3030_3030_3030_3030
                let other = ((word ^ threes) | ((word &+ 0x0606_0606_0606_0606) ^ threes)) & halves
                if other != 0 { return offset &+ other.trailingZeroBitCount / 8 }
                offset &+= 8
            }
            while offset < raw.count, unsafe raw.load(fromByteOffset: offset, as: UInt8.self) &- 0x30 < 10 {
                offset &+= 1
            }
            return offset
        }
    }

    /// The high bit of each byte that is a control, a quote, a backslash or not ASCII. Bytes after the first such may be
    /// marked wrongly (the subtractions borrow), so only the lowest mark counts.
    @inline(__always)
    private static func specialBytes(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quote = word ^ (ones &* 0x22)
        let backslash = word ^ (ones &* 0x5C)
        let controls = (word &- ones &* 0x20) & ~word
        let quotes = (quote &- ones) & ~quote
        let backslashes = (backslash &- ones) & ~backslash
        return (word | controls | quotes | backslashes) & (ones &* 0x80)
    }
}

// Sound: the value owns its memory alone and is not copyable, so that whoever holds it is the only one to touch it.
extension ByteBuffer: @unchecked Sendable {}

extension RecordChunk {
    /// The bytes for C code, which may keep the pointer until the chunk is filled again, emptied or freed.
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        // Sound: passes on the buffer's own promise; the chunk appends only in `consume` and empties only in `removeAll`.
        try unsafe contents.buffer.withUnsafeBytes(body)
    }
}
