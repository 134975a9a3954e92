internal import CKafka

/// The version of librdkafka that this process has loaded, such as `2.0.2`; it may be newer than the one it was built with.
public var kafkaLibraryVersion: String { String(cString: rd_kafka_version_str()) }
