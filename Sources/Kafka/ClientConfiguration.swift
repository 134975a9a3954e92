internal import CKafka

/// An `rd_kafka_conf_t`, owned until a client takes it over.
struct ClientConfiguration: ~Copyable {
    private let pointer: OpaquePointer

    init() { pointer = rd_kafka_conf_new() }

    deinit { rd_kafka_conf_destroy(pointer) }

    /// Sets one property; the refusal never holds the value of a secret.
    func set(_ name: String, _ value: String) throws(KafkaSettings.Refusal) {
        var message = [CChar](repeating: 0, count: 512)
        guard rd_kafka_conf_set(pointer, name, value, &message, message.count) != RD_KAFKA_CONF_OK else { return }
        let secret = KafkaSettings.isSecret(name)
        throw KafkaSettings.Refusal(
            property: name, reason: secret ? "librdkafka refuses this value (not shown)" : text(of: message))
    }

    /// Registers the callbacks, all of which find the context behind the opaque pointer.
    func attach(_ context: Unmanaged<ClientContext>, rebalance: Bool, deliveryReports: Bool) {
        rd_kafka_conf_set_opaque(pointer, context.toOpaque())
        rd_kafka_conf_set_log_cb(pointer) { client, level, facility, text in
            guard let client, let text, let context = ClientContext.behind(rd_kafka_opaque(client)) else { return }
            context.log(level: level, facility: facility.map { String(cString: $0) } ?? "", text: String(cString: text))
        }
        rd_kafka_conf_set_error_cb(pointer) { client, code, text, opaque in
            guard let context = ClientContext.behind(opaque) else { return }
            context.error(
                client, rd_kafka_resp_err_t(rawValue: code), text: text.map { String(cString: $0) } ?? "")
        }
        if rebalance {
            rd_kafka_conf_set_rebalance_cb(pointer) { client, code, partitions, opaque in
                guard let context = ClientContext.behind(opaque) else { return }
                context.rebalance(client, code, TopicPartitionList.values(of: partitions))
            }
        }
        if deliveryReports {
            rd_kafka_conf_set_dr_msg_cb(pointer) { _, message, opaque in
                guard let message, let context = ClientContext.behind(opaque) else { return }
                context.delivered(message)
            }
        }
    }

    /// Makes the client; on failure the configuration stays ours and is freed here.
    consuming func makeClient(_ type: rd_kafka_type_t, operation: String) throws(KafkaError) -> OpaquePointer {
        var message = [CChar](repeating: 0, count: 512)
        guard let client = rd_kafka_new(type, pointer, &message, message.count) else {
            let code = rd_kafka_last_error()
            let text = text(of: message)
            // Else it is short of something.
            let error =
                code == RD_KAFKA_RESP_ERR__INVALID_ARG
                ? KafkaError.refused(operation, text)
                : KafkaError(code: code, operation: operation, text: text, disposition: .permanent)
            _ = consume self
            throw error
        }
        discard self
        return client
    }
}

/// The text in a C buffer up to its first zero.
func text(of buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
