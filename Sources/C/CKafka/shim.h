#pragma once
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

/* One record header; one whose name is null is left out by `sluice_kafka_produce`. */
typedef struct {
    const char *name;
    const void *value;
    size_t size;
} sluice_kafka_header;

/* Here, and not in Swift, because the tagged union of rd_kafka_produceva is imported as accessors that copy its 64 bytes
 * for each member that is set; here the array is written once, on the stack, without any allocation. */
static inline rd_kafka_error_t *sluice_kafka_produce(
    rd_kafka_t *rk, rd_kafka_topic_t *topic, int32_t partition, size_t place, int flags, const void *key,
    size_t key_size, const void *value, size_t value_size, sluice_kafka_header first, sluice_kafka_header second,
    sluice_kafka_header third, sluice_kafka_header fourth) {
    rd_kafka_vu_t list[7];
    size_t count = 6;
    list[0].vtype = RD_KAFKA_VTYPE_RKT;
    list[0].u.rkt = topic;
    list[1].vtype = RD_KAFKA_VTYPE_PARTITION;
    list[1].u.i32 = partition;
    list[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    list[2].u.i = flags;
    list[3].vtype = RD_KAFKA_VTYPE_KEY;
    list[3].u.mem.ptr = (void *)key;
    list[3].u.mem.size = key_size;
    list[4].vtype = RD_KAFKA_VTYPE_VALUE;
    list[4].u.mem.ptr = (void *)value;
    list[4].u.mem.size = value_size;
    /* What the delivery report says again: `sluice_kafka_place`. */
    list[5].vtype = RD_KAFKA_VTYPE_OPAQUE;
    list[5].u.ptr = (void *)place;
    const sluice_kafka_header headers[4] = {first, second, third, fourth};
    /* A list of ours, and not RD_KAFKA_VTYPE_HEADER: before 2.12 librdkafka frees a list of its own twice where the partition does
     * not exist (any more). What is ours stays ours in an error. */
    rd_kafka_headers_t *given = NULL;
    for (int i = 0; i < 4; i++) {
        if (!headers[i].name) continue;
        if (!given) given = rd_kafka_headers_new(4);
        rd_kafka_header_add(given, headers[i].name, -1, headers[i].value, (ssize_t)headers[i].size);
    }
    if (given) {
        list[count].vtype = RD_KAFKA_VTYPE_HEADERS;
        list[count].u.headers = given;
        count++;
    }
    rd_kafka_error_t *error = rd_kafka_produceva(rk, list, count);
    if (error && given) rd_kafka_headers_destroy(given);
    return error;
}

static inline size_t sluice_kafka_place(const rd_kafka_message_t *message) { return (size_t)message->_private; }

/* Macros with casts are not imported. */
static const int sluice_kafka_flag_copy = RD_KAFKA_MSG_F_COPY;
