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
    rd_kafka_vu_t list[10];
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
    for (int i = 0; i < 4; i++) {
        if (!headers[i].name) continue;
        list[count].vtype = RD_KAFKA_VTYPE_HEADER;
        list[count].u.header.name = headers[i].name;
        list[count].u.header.val = headers[i].value;
        list[count].u.header.size = (ssize_t)headers[i].size;
        count++;
    }
    return rd_kafka_produceva(rk, list, count);
}

static inline size_t sluice_kafka_place(const rd_kafka_message_t *message) { return (size_t)message->_private; }

/* Macros with casts are not imported. */
static const int sluice_kafka_flag_copy = RD_KAFKA_MSG_F_COPY;
