/* Says when each record became visible to a read_committed consumer.
 *
 *   watch BROKERS OUTPUT TOPIC...
 *
 * Reads partition 0 of each topic from its end on, says `ready`, and at SIGTERM writes a line a record: the topic's number, the number in
 * the key, CLOCK_REALTIME in nanoseconds at which the application had it. */
#include <signal.h>

#include "peer.h"

static volatile sig_atomic_t over;
static void stop(int signal) { over = signal; }

struct seen { int topic; int64_t id, at; };

int main(int count, char **arguments) {
    if (count < 4) DIE("watch BROKERS OUTPUT TOPIC...");
    signal(SIGTERM, stop);
    const char *properties[] = {"group.id", "bench-watch", "enable.auto.commit", "false", "isolation.level", "read_committed",
                                "fetch.wait.max.ms", "100", NULL};
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, arguments[1], properties);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count - 3);
    for (int i = 3; i < count; i++) {
        int64_t low, high;
        rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(consumer, arguments[i], 0, &low, &high, 10000);
        if (error) DIE("%s: %s", arguments[i], rd_kafka_err2str(error));
        rd_kafka_topic_partition_list_add(list, arguments[i], 0)->offset = high;
    }
    rd_kafka_assign(consumer, list);
    for (double end = seconds() + 1; seconds() < end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 100);
        if (message) rd_kafka_message_destroy(message);
    }
    printf("ready\n");
    fflush(stdout);
    size_t length = 0, room = 1 << 16;
    struct seen *all = malloc(room * sizeof *all);
    while (!over) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 100);
        if (!message) continue;
        int64_t now = wall();
        if (!message->err && message->payload) {
            if (length == room && !(all = realloc(all, (room *= 2) * sizeof *all))) DIE("no memory");
            const char *topic = rd_kafka_topic_name(message->rkt);
            int number = 3;
            while (number < count && strcmp(arguments[number], topic)) number++;
            all[length++] = (struct seen){number - 3, id_of(message), now};
        }
        rd_kafka_message_destroy(message);
    }
    FILE *file = fopen(arguments[2], "w");
    if (!file) DIE("%s: %s", arguments[2], strerror(errno));
    for (size_t i = 0; i < length; i++) fprintf(file, "%d %" PRId64 " %" PRId64 "\n", all[i].topic, all[i].id, all[i].at);
    fclose(file);
    return 0;
}
