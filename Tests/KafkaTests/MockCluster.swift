import CKafka
import Testing

@testable import Kafka

/// librdkafka's imitation of a cluster, in this process: for the order of calls and for injected errors, never as a proof of
/// what transactions hide.
final class MockCluster {
    private let client: OpaquePointer
    private let cluster: OpaquePointer
    let brokers: String

    init(brokers count: Int32 = 1) throws {
        let configuration = rd_kafka_conf_new()
        // It has no brokers and says so.
        rd_kafka_conf_set_log_cb(configuration) { _, _, _, _ in }
        client = try #require(rd_kafka_new(RD_KAFKA_PRODUCER, configuration, nil, 0))
        cluster = try #require(rd_kafka_mock_cluster_new(client, count))
        brokers = String(cString: rd_kafka_mock_cluster_bootstraps(cluster))
    }

    deinit {
        rd_kafka_mock_cluster_destroy(cluster)
        rd_kafka_destroy(client)
    }

    /// Numbers of requests in Kafka's protocol.
    enum Request: Int16 {
        case produce = 0
        case metadata = 3
        case offsetCommit = 8
        case initProducerID = 22
        case addPartitions = 24
        case endTransaction = 26
    }

    func fail(_ request: Request, with errors: [rd_kafka_resp_err_t]) {
        rd_kafka_mock_push_request_errors_array(cluster, request.rawValue, errors.count, errors)
    }

    func clear(_ request: Request) { rd_kafka_mock_clear_request_errors(cluster, request.rawValue) }

    func createTopic(_ name: String, partitions: Int32 = 1) {
        rd_kafka_mock_topic_create(cluster, name, partitions, 1)
    }

    /// Makes a broker the leader of a partition; the one before answers that it leads no longer.
    func lead(_ topic: String, _ partition: Int32, broker: Int32) {
        rd_kafka_mock_partition_set_leader(cluster, topic, partition, broker)
    }

    /// How long each answer of a broker takes.
    func delay(broker: Int32, milliseconds: Int32) { rd_kafka_mock_broker_set_rtt(cluster, broker, milliseconds) }

    func set(broker: Int32, down: Bool) {
        if down {
            rd_kafka_mock_broker_set_down(cluster, broker)
        } else {
            rd_kafka_mock_broker_set_up(cluster, broker)
        }
    }
}
