internal import CKafka

/// A record as it was fetched. It lives as long as the call that shows it, and so do its spans: copy what must stay.
public struct ConsumedRecord: ~Copyable {
    let message: UnsafeMutablePointer<rd_kafka_message_t>
    /// The partition's place in the reader's table (`topicPartition(at:)`): the same number for the same partition as long as
    /// the reader lives, so that a caller keeps its state in an array.
    public let slot: Int

    /// The record's offset.
    public var offset: Int64 { message.pointee.offset }
    /// The partition's number.
    public var partition: Int32 { message.pointee.partition }

    /// Milliseconds since 1970 when it was produced (or appended, by the topic's choice); nil where the record has none.
    public var timestamp: Int64? {
        var type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
        let time = rd_kafka_message_timestamp(message, &type)
        return type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? nil : time
    }

    /// The key; nil where there is none.
    public var key: Span<UInt8>? {
        @_lifetime(borrow self) get {
            guard let start = message.pointee.key else { return nil }
            // The message owns these bytes, and is destroyed only after the record is.
            let bytes = UnsafeBufferPointer(
                start: start.assumingMemoryBound(to: UInt8.self), count: message.pointee.key_len)
            return _overrideLifetime(bytes.span, borrowing: self)
        }
    }

    /// The value; nil for a tombstone.
    public var value: Span<UInt8>? {
        @_lifetime(borrow self) get {
            guard let start = message.pointee.payload else { return nil }
            let bytes = UnsafeBufferPointer(
                start: start.assumingMemoryBound(to: UInt8.self), count: message.pointee.len)
            return _overrideLifetime(bytes.span, borrowing: self)
        }
    }

    /// The value of the last header of this name; nil where there is none, or where its value is null.
    @_lifetime(borrow self)
    public func header(_ name: StaticString) -> Span<UInt8>? {
        var headers: OpaquePointer?
        guard rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR, let headers else { return nil }
        var start: UnsafeRawPointer?
        var count = 0
        let name = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        guard rd_kafka_header_get_last(headers, name, &start, &count) == RD_KAFKA_RESP_ERR_NO_ERROR, let start else {
            return nil
        }
        // The headers belong to the message.
        let bytes = UnsafeBufferPointer(start: start.assumingMemoryBound(to: UInt8.self), count: count)
        return _overrideLifetime(bytes.span, borrowing: self)
    }
}

extension ConsumedRecord {
    /// Copies of all headers that have a value; of two of one name the last.
    fileprivate var headers: [String: [UInt8]] {
        var list: OpaquePointer?
        guard rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list else { return [:] }
        var found: [String: [UInt8]] = [:]
        var index = 0
        var name: UnsafePointer<CChar>?
        var start: UnsafeRawPointer?
        var count = 0
        while rd_kafka_header_get_all(list, index, &name, &start, &count) == RD_KAFKA_RESP_ERR_NO_ERROR {
            index += 1
            guard let name, let start else { continue }
            // The headers belong to the message.
            found[String(cString: name)] = Array(UnsafeRawBufferPointer(start: start, count: count))
        }
        return found
    }
}

/// A record that was copied out of its reader.
public struct StoredRecord: Sendable, Hashable {
    /// The record's offset.
    public let offset: Int64
    /// Milliseconds since 1970.
    public let timestamp: Int64?
    /// The key's bytes.
    public let key: [UInt8]?
    /// The value's bytes; nil for a tombstone.
    public let value: [UInt8]?
    /// The headers that have a value, by their names; of two of one name the last.
    public let headers: [String: [UInt8]]

    /// A record that is in no log.
    public init(key: [UInt8]?, value: [UInt8]? = nil, headers: [String: [UInt8]] = [:]) {
        offset = -1
        timestamp = nil
        self.key = key
        self.value = value
        self.headers = headers
    }

    init(copying record: borrowing ConsumedRecord) {
        offset = record.offset
        timestamp = record.timestamp
        key = array(of: record.key)
        value = array(of: record.value)
        headers = record.headers
    }
}

private func array(of span: Span<UInt8>?) -> [UInt8]? {
    guard let span else { return nil }
    return span.withUnsafeBufferPointer { Array($0) }
}
