/* The floor of the latency: begin, send one record, commit.
 *
 *   floor BROKERS TOPIC OUTPUT SECONDS PAUSE_MS FIRST_ID
 *
 * Writes a line a transaction: its number, CLOCK_REALTIME in nanoseconds before begin and after commit. With a pause no transaction meets
 * the end of the one before it, which the broker may still be writing (CONCURRENT_TRANSACTIONS: the client tries again after 20 ms). */
#include "peer.h"

int main(int count, char **arguments) {
    if (count != 7) DIE("floor BROKERS TOPIC OUTPUT SECONDS PAUSE_MS FIRST_ID");
    double length = atof(arguments[4]);
    struct timespec pause = {0, atol(arguments[5]) * 1000000};
    int64_t id = atoll(arguments[6]);
    const char *properties[] = {"transactional.id", "bench-floor", "compression.type", "lz4", "linger.ms", "0", NULL};
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, arguments[1], properties);
    must(rd_kafka_init_transactions(producer, 30000), "init_transactions");
    look_up(producer, arguments[2]);
    FILE *file = fopen(arguments[3], "w");
    if (!file) DIE("%s: %s", arguments[3], strerror(errno));
    static char value[675];
    memset(value, 'x', sizeof value);
    /* The first few look the coordinator up. */
    int warm = 3;
    for (double end = seconds() + length; warm > 0 || seconds() < end;) {
        char key[64];
        int size = snprintf(key, sizeof key, "{\"id\":%" PRId64 "}", warm > 0 ? -1 : id);
        int64_t began = wall();
        must(rd_kafka_begin_transaction(producer), "begin");
        rd_kafka_resp_err_t error =
            rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(arguments[2]), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, (size_t)size),
                              RD_KAFKA_V_VALUE(value, sizeof value), RD_KAFKA_V_END);
        if (error) DIE("produce: %s", rd_kafka_err2str(error));
        must(rd_kafka_commit_transaction(producer, 30000), "commit");
        if (warm == 0) fprintf(file, "%" PRId64 " %" PRId64 " %" PRId64 "\n", id++, began, wall());
        if (warm > 0 && --warm == 0) end = seconds() + length;
        if (pause.tv_nsec) nanosleep(&pause, NULL);
    }
    fclose(file);
    rd_kafka_destroy(producer);
    return 0;
}
