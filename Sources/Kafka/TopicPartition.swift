internal import CKafka
import Glibc

/// One partition of a topic.
public struct TopicPartition: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The topic's name.
    public let topic: String
    /// The partition's number, from 0.
    public let partition: Int32

    /// A partition by its topic and number.
    public init(_ topic: String, _ partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    /// By topic, then by number.
    public static func < (one: TopicPartition, other: TopicPartition) -> Bool {
        one.topic == other.topic ? one.partition < other.partition : one.topic < other.topic
    }

    /// `topic/partition`
    public var description: String { "\(topic)/\(partition)" }
}

/// An offset in a partition, with the text that a group may keep beside it.
public struct PartitionOffset: Sendable, Hashable {
    /// The partition.
    public let partition: TopicPartition
    /// The next offset to read.
    public let offset: Int64
    /// The group's text; the brokers take up to 4096 bytes.
    public let metadata: String?

    /// An offset in a partition.
    public init(_ partition: TopicPartition, offset: Int64, metadata: String? = nil) {
        self.partition = partition
        self.offset = offset
        self.metadata = metadata
    }
}

/// An `rd_kafka_topic_partition_list_t`, owned.
struct TopicPartitionList: ~Copyable {
    private let pointer: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

    init(_ partitions: [TopicPartition]) {
        pointer = rd_kafka_topic_partition_list_new(Int32(partitions.count))
        for partition in partitions {
            rd_kafka_topic_partition_list_add(pointer, partition.topic, partition.partition)
        }
    }

    init(_ offsets: [PartitionOffset]) {
        pointer = rd_kafka_topic_partition_list_new(Int32(offsets.count))
        for offset in offsets {
            guard
                let element = rd_kafka_topic_partition_list_add(
                    pointer, offset.partition.topic, offset.partition.partition)
            else { continue }
            element.pointee.offset = offset.offset
            if let metadata = offset.metadata, let copy = strdup(metadata) {
                // The list owns the text from here on and frees it with free().
                element.pointee.metadata = UnsafeMutableRawPointer(copy)
                element.pointee.metadata_size = strlen(copy)
            }
        }
    }

    deinit { rd_kafka_topic_partition_list_destroy(pointer) }

    /// The elements of a list that may belong to librdkafka.
    static func elements(
        of list: UnsafePointer<rd_kafka_topic_partition_list_t>?
    ) -> UnsafeBufferPointer<rd_kafka_topic_partition_t> {
        UnsafeBufferPointer(start: list?.pointee.elems, count: Int(list?.pointee.cnt ?? 0))
    }

    static func values(of list: UnsafePointer<rd_kafka_topic_partition_list_t>?) -> [TopicPartition] {
        elements(of: list).map { TopicPartition(String(cString: $0.topic), $0.partition) }
    }

    /// Hands the list to a C function. A closure, because a list whose pointer was only read could be freed before the call.
    borrowing func pass<R>(_ call: (UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) -> R) -> R {
        call(pointer)
    }

    /// The elements that have an offset.
    borrowing func offsets() -> [PartitionOffset] {
        Self.elements(of: pointer).filter { $0.offset >= 0 }.map(\.value)
    }

    /// Each partition with the offset and the error that librdkafka has noted beside it.
    borrowing func results(_ operation: String) -> [(partition: TopicPartition, offset: Int64, error: KafkaError?)] {
        Self.elements(of: pointer).map { element in
            let partition = TopicPartition(String(cString: element.topic), element.partition)
            return (partition, element.offset, KafkaError(element.err, operation: operation, detail: "\(partition)"))
        }
    }

    /// Throws the first error that librdkafka has noted beside a partition.
    borrowing func throwFirstError(_ operation: String) throws(KafkaError) {
        try Self.throwFirstError(in: pointer, operation)
    }

    /// The same for a list that belongs to librdkafka.
    static func throwFirstError(
        in list: UnsafePointer<rd_kafka_topic_partition_list_t>?, _ operation: String
    ) throws(KafkaError) {
        for element in elements(of: list) {
            let name = "\(String(cString: element.topic))/\(element.partition)"
            if let error = KafkaError(element.err, operation: operation, detail: name) { throw error }
        }
    }
}

extension rd_kafka_topic_partition_t {
    /// The offset and the text beside it, copied.
    var value: PartitionOffset {
        var text: String?
        if let metadata, metadata_size > 0 {
            text = String(
                decoding: UnsafeRawBufferPointer(start: UnsafeRawPointer(metadata), count: metadata_size), as: UTF8.self
            )
        }
        return PartitionOffset(TopicPartition(String(cString: topic), partition), offset: offset, metadata: text)
    }
}
