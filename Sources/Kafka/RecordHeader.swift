internal import CKafka

/// A header to be sent with a record: a name and bytes, both copied by `produce`.
public struct RecordHeader: ~Escapable {
    let name: StaticString
    let value: Span<UInt8>

    /// The name must be ASCII, in the source: a header's name is a C string, and is not made anew for each record.
    @_lifetime(copy value)
    public init(_ name: StaticString, _ value: Span<UInt8>) {
        self.name = name
        self.value = value
    }
}

/// The memory of a span, nil and 0 where there is none. An empty span is a pointer that is not null: an empty value and none
/// at all (a tombstone) are different records.
///
/// The pointer leaves the closure, and is sound as long as the span's memory is: callers use it only within their own call,
/// throughout which the span that they were given lives.
func bytes(of span: Span<UInt8>?) -> (start: UnsafeRawPointer?, count: Int) {
    guard let span else { return (nil, 0) }
    return span.withUnsafeBytes { bytes in
        (bytes.baseAddress ?? UnsafeRawPointer(emptyBytes.utf8Start), bytes.count)
    }
}

private let emptyBytes: StaticString = ""

/// The C form of a header; a null name for none.
func raw(_ header: RecordHeader?) -> sluice_kafka_header {
    guard let header else { return sluice_kafka_header(name: nil, value: nil, size: 0) }
    let value = bytes(of: header.value)
    let name = UnsafeRawPointer(header.name.utf8Start).assumingMemoryBound(to: CChar.self)
    return sluice_kafka_header(name: name, value: value.start, size: value.count)
}

/// Java's partitioner, as `produce` applies it to a key.
public func murmur2Partition(ofKey key: Span<UInt8>, partitions: Int32) -> Int32 {
    let key = bytes(of: key)
    return rd_kafka_msg_partitioner_murmur2(nil, key.start, key.count, partitions, nil, nil)
}
