/* What the bare clients share: clocks, the kernel's accounts of this process, and a client that is made or dies. */
#pragma once
#include <errno.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define DIE(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

static inline int64_t nanoseconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t wall(void) { return nanoseconds(CLOCK_REALTIME); }
static inline double seconds(void) { return nanoseconds(CLOCK_MONOTONIC) / 1e9; }
static inline double cpu_seconds(void) { return nanoseconds(CLOCK_PROCESS_CPUTIME_ID) / 1e9; }

/* The most that was ever resident: not getrusage's, which remembers the process that forked this one. */
static inline long peak_bytes(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kilobytes = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %ld", &kilobytes) == 1) break;
    if (file) fclose(file);
    return kilobytes * 1024;
}

static inline void reported(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
    (void)producer, (void)opaque;
    if (message->err) DIE("a record was refused: %s", rd_kafka_err2str(message->err));
}

/* The properties are names and values in turn, with a null behind the last. */
static inline rd_kafka_t *client(rd_kafka_type_t type, const char *brokers, const char *const *properties) {
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, error, sizeof error)) DIE("%s", error);
    for (; *properties; properties += 2)
        if (rd_kafka_conf_set(conf, properties[0], properties[1], error, sizeof error)) DIE("%s", error);
    // A report wakes the flush that a commit waits for; without reports it looks every 10 ms.
    if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set_dr_msg_cb(conf, reported);
    rd_kafka_t *made = rd_kafka_new(type, conf, error, sizeof error);
    if (!made) DIE("%s", error);
    return made;
}

static inline void must(rd_kafka_error_t *error, const char *what) {
    if (error) DIE("%s: %s", what, rd_kafka_error_string(error));
}

/* Looks a topic up, so that the first record of it does not wait for that (a second, in 2.0.2). */
static inline void look_up(rd_kafka_t *producer, const char *topic) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(producer, topic, NULL);
    for (int tries = 0; tries < 50; tries++) {
        rd_kafka_resp_err_t error = rd_kafka_metadata(producer, 0, handle, &metadata, 10000);
        if (error) DIE("%s: %s", topic, rd_kafka_err2str(error));
        int found = metadata->topic_cnt == 1 && !metadata->topics[0].err && metadata->topics[0].partition_cnt > 0;
        rd_kafka_metadata_destroy(metadata);
        if (found) {
            rd_kafka_topic_destroy(handle);
            return;
        }
        struct timespec pause = {0, 100000000};
        nanosleep(&pause, NULL);
    }
    DIE("%s: not known to the broker", topic);
}

/* The number in a key {"id":123}. */
static inline int64_t id_of(const rd_kafka_message_t *message) {
    char text[64];
    size_t size = message->key_len < sizeof text - 1 ? message->key_len : sizeof text - 1;
    memcpy(text, message->key, size);
    text[size] = 0;
    const char *colon = strchr(text, ':');
    return colon ? strtoll(colon + 1, NULL, 10) : -1;
}
