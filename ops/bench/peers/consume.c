/* A bare consumer of one partition, read_committed, from its beginning to its end.
 *
 *   consume BROKERS TOPIC [header]
 *
 * With `header` it also looks up each record's header `sluice.pos`, as the sink does. Prints one line of JSON; the time is from the first
 * record to the last. */
#include "peer.h"

int main(int count, char **arguments) {
    if (count < 3) DIE("consume BROKERS TOPIC [header]");
    int with_header = count > 3;
    const char *properties[] = {"group.id", "bench-consume", "enable.auto.commit", "false", "enable.partition.eof", "true",
                                "isolation.level", "read_committed", NULL};
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, arguments[1], properties);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, arguments[2], 0)->offset = 0;
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    double cpu = cpu_seconds(), began = 0, last = 0, deadline = seconds() + 120;
    rd_kafka_assign(consumer, list);
    long records = 0, bytes = 0, found = 0;
    for (int over = 0; !over;) {
        static rd_kafka_message_t *messages[4096];
        ssize_t some = rd_kafka_consume_batch_queue(queue, 100, messages, 4096);
        if (some > 0 && !began) began = seconds();
        if (seconds() > deadline) DIE("no end of %s after %ld records", arguments[2], records);
        long before = records;
        for (ssize_t i = 0; i < some; i++) {
            rd_kafka_message_t *message = messages[i];
            if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) over = 1;
            else if (message->err) fprintf(stderr, "%s\n", rd_kafka_message_errstr(message));
            else {
                records++;
                bytes += (long)message->len;
                rd_kafka_headers_t *headers = NULL;
                const void *value;
                size_t size;
                if (with_header && !rd_kafka_message_headers(message, &headers) && !rd_kafka_header_get_last(headers, "sluice.pos", &value, &size)) found++;
            }
            rd_kafka_message_destroy(message);
        }
        /* That there is nothing more is known only half a second later. */
        if (records > before) last = seconds();
    }
    printf("{\"records\": %ld, \"bytes\": %ld, \"headers\": %ld, \"seconds\": %.4f, \"cpu\": %.4f, \"peak\": %ld}\n", records, bytes, found,
           last - began, cpu_seconds() - cpu, peak_bytes());
    rd_kafka_queue_destroy(queue);
    rd_kafka_consumer_close(consumer);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(consumer);
    return 0;
}
