internal import CKafka

/// An `rd_kafka_event_t`, owned; the results of an admin call belong to it and are copied out by its methods.
struct AdminAnswer: ~Copyable {
    private let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) { self.pointer = pointer }

    deinit { rd_kafka_event_destroy(pointer) }

    /// Throws the error of the request as a whole.
    borrowing func throwError(_ operation: String) throws(KafkaError) {
        let detail = rd_kafka_event_error_string(pointer).map { String(cString: $0) }
        if let error = KafkaError(rd_kafka_event_error(pointer), operation: operation, detail: detail) { throw error }
    }

    /// What became of each topic: its error, or nil.
    borrowing func topicResults(
        _ operation: String, _ read: (OpaquePointer, UnsafeMutablePointer<Int>) -> UnsafeMutablePointer<OpaquePointer?>?
    ) -> [String: KafkaError?] {
        var count = 0
        let topics = read(pointer, &count)
        var results: [String: KafkaError?] = [:]
        for topic in UnsafeBufferPointer(start: topics, count: count) {
            guard let topic else { continue }
            let name = String(cString: rd_kafka_topic_result_name(topic))
            let detail = rd_kafka_topic_result_error_string(topic).map { String(cString: $0) } ?? ""
            let error = KafkaError(
                rd_kafka_topic_result_error(topic), operation: operation, detail: "\(name): \(detail)")
            results.updateValue(error, forKey: name)
        }
        return results
    }

    /// Throws the first partition's error of a deletion of records.
    borrowing func throwFirstDeletionError(_ operation: String) throws(KafkaError) {
        try TopicPartitionList.throwFirstError(in: rd_kafka_DeleteRecords_result_offsets(pointer), operation)
    }

    /// The settings of each resource that was asked about, by its name, without sensitive ones.
    borrowing func configurations(_ operation: String) -> [String: Result<[String: String], KafkaError>] {
        var count = 0
        let resources = rd_kafka_DescribeConfigs_result_resources(pointer, &count)
        var results: [String: Result<[String: String], KafkaError>] = [:]
        for resource in UnsafeBufferPointer(start: resources, count: count) {
            guard let resource else { continue }
            let name = String(cString: rd_kafka_ConfigResource_name(resource))
            let detail = rd_kafka_ConfigResource_error_string(resource).map { String(cString: $0) }
            if let error = KafkaError(rd_kafka_ConfigResource_error(resource), operation: operation, detail: detail) {
                results[name] = .failure(error)
                continue
            }
            var entryCount = 0
            let entries = rd_kafka_ConfigResource_configs(resource, &entryCount)
            var values: [String: String] = [:]
            for entry in UnsafeBufferPointer(start: entries, count: entryCount) {
                guard let entry, rd_kafka_ConfigEntry_is_sensitive(entry) == 0,
                    let value = rd_kafka_ConfigEntry_value(entry)
                else { continue }
                values[String(cString: rd_kafka_ConfigEntry_name(entry))] = String(cString: value)
            }
            results[name] = .success(values)
        }
        return results
    }
}
