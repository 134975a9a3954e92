/* Small transactions at a rate: one row each, over several connections.
 *
 *   write CONNINFO OUTPUT RATE SECONDS CONNECTIONS FIRST_ID
 *
 * Inserts into public.small (id, v). Writes a line a transaction: its id, CLOCK_REALTIME in nanoseconds before it was sent and after its
 * commit had returned. Each connection keeps to its own times; one that is late goes on at once. */
#include <libpq-fe.h>
#include <pthread.h>

#include "peer.h"

static const char *conninfo;
static double rate, length, start;
static int connections;
static int64_t first;
struct row { int64_t id, sent, committed; };
struct worker { pthread_t thread; int number; long rows; struct row *row; };

static void *work(void *argument) {
    struct worker *self = argument;
    PGconn *connection = PQconnectdb(conninfo);
    if (PQstatus(connection) != CONNECTION_OK) DIE("%s", PQerrorMessage(connection));
    PQclear(PQprepare(connection, "w", "insert into public.small values ($1::bigint, $2::text)", 2, NULL));
    for (long n = 0;; n++) {
        long turn = n * connections + self->number;
        double due = turn / rate;
        if (due >= length) break;
        double wait = start + due - seconds();
        if (wait > 0) {
            struct timespec pause = {(time_t)wait, (long)((wait - (double)(time_t)wait) * 1e9)};
            nanosleep(&pause, NULL);
        }
        char id[32];
        snprintf(id, sizeof id, "%" PRId64, first + turn);
        const char *values[2] = {id, "a value of a hundred bytes, so that a row is about as long as a short one of an application is: ......"};
        struct row *row = &self->row[n];
        row->id = first + turn;
        row->sent = wall();
        PGresult *result = PQexecPrepared(connection, "w", 2, values, NULL, NULL, 0);
        row->committed = wall();
        if (PQresultStatus(result) != PGRES_COMMAND_OK) DIE("%s", PQerrorMessage(connection));
        PQclear(result);
        self->rows = n + 1;
    }
    PQfinish(connection);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 7) DIE("write CONNINFO OUTPUT RATE SECONDS CONNECTIONS FIRST_ID");
    conninfo = arguments[1];
    rate = atof(arguments[3]);
    length = atof(arguments[4]);
    connections = atoi(arguments[5]);
    first = atoll(arguments[6]);
    start = seconds() + 0.3;
    struct worker *workers = calloc((size_t)connections, sizeof *workers);
    for (int i = 0; i < connections; i++) {
        workers[i].number = i;
        workers[i].row = calloc((size_t)(rate * length / connections) + 2, sizeof(struct row));
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) DIE("no thread");
    }
    for (int i = 0; i < connections; i++) pthread_join(workers[i].thread, NULL);
    FILE *file = fopen(arguments[2], "w");
    if (!file) DIE("%s: %s", arguments[2], strerror(errno));
    for (int i = 0; i < connections; i++)
        for (long n = 0; n < workers[i].rows; n++)
            fprintf(file, "%" PRId64 " %" PRId64 " %" PRId64 "\n", workers[i].row[n].id, workers[i].row[n].sent, workers[i].row[n].committed);
    fclose(file);
    return 0;
}
