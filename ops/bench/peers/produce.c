/* A bare transactional producer of a topic's own envelopes.
 *
 *   produce BROKERS SOURCE_TOPIC TOPIC RECORDS RECORDS_A_TRANSACTION
 *
 * Reads a thousand records of SOURCE_TOPIC, then produces them in turn, key, value and header, in transactions, with the settings that
 * sluice gives its own producer. Prints one line of JSON; the time is from the first begin to the end of the last commit. */
#include "peer.h"

enum { KINDS = 1000 };
static struct envelope { void *key, *value; size_t key_size, value_size; char position[128]; size_t position_size; } kinds[KINDS];

static void *copy(const void *bytes, size_t size) { return memcpy(malloc(size + 1), bytes, size); }

static int read_kinds(const char *brokers, const char *topic) {
    const char *properties[] = {"group.id", "bench-kinds", "enable.auto.commit", "false", "enable.partition.eof", "true",
                                "queued.max.messages.kbytes", "4096", "fetch.message.max.bytes", "262144", NULL};
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, brokers, properties);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = 0;
    rd_kafka_assign(consumer, list);
    int count = 0;
    for (double deadline = seconds() + 20; count < KINDS && seconds() < deadline;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 500);
        if (!message) continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) { rd_kafka_message_destroy(message); break; }
        rd_kafka_headers_t *headers = NULL;
        const void *position;
        struct envelope *kind = &kinds[count];
        if (!message->err && message->payload && !rd_kafka_message_headers(message, &headers) &&
            !rd_kafka_header_get_last(headers, "sluice.pos", &position, &kind->position_size) && kind->position_size < sizeof kind->position) {
            kind->key = copy(message->key, kind->key_size = message->key_len);
            kind->value = copy(message->payload, kind->value_size = message->len);
            memcpy(kind->position, position, kind->position_size);
            count++;
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(consumer);
    return count;
}

int main(int count, char **arguments) {
    if (count != 6) DIE("produce BROKERS SOURCE_TOPIC TOPIC RECORDS RECORDS_A_TRANSACTION");
    long records = atol(arguments[4]), batch = atol(arguments[5]);
    int known = read_kinds(arguments[1], arguments[2]);
    if (!known) DIE("no record in %s", arguments[2]);
    const char *properties[] = {"transactional.id", "bench-produce", "compression.type", "lz4", "linger.ms", "5", "batch.num.messages", "1000000",
                                "batch.size", "1000000", "queue.buffering.max.kbytes", "65536", "queue.buffering.max.messages", "10000000",
                                "partitioner", "murmur2_random", NULL};
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, arguments[1], properties);
    must(rd_kafka_init_transactions(producer, 30000), "init_transactions");
    look_up(producer, arguments[3]);
    double cpu = cpu_seconds(), began = seconds();
    for (long done = 0; done < records;) {
        must(rd_kafka_begin_transaction(producer), "begin");
        for (long end = done + batch < records ? done + batch : records; done < end;) {
            struct envelope *kind = &kinds[done % known];
            rd_kafka_resp_err_t error = rd_kafka_producev(
                producer, RD_KAFKA_V_TOPIC(arguments[3]), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(kind->key, kind->key_size),
                RD_KAFKA_V_VALUE(kind->value, kind->value_size), RD_KAFKA_V_HEADER("sluice.pos", kind->position, (ssize_t)kind->position_size),
                RD_KAFKA_V_END);
            if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) rd_kafka_poll(producer, 1);
            else if (error) DIE("produce: %s", rd_kafka_err2str(error));
            else done++;
        }
        must(rd_kafka_commit_transaction(producer, 60000), "commit");
    }
    printf("{\"records\": %ld, \"seconds\": %.4f, \"cpu\": %.4f, \"peak\": %ld}\n", records, seconds() - began, cpu_seconds() - cpu, peak_bytes());
    rd_kafka_destroy(producer);
    return 0;
}
