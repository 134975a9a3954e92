#pragma once
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

// glibc declares it under _GNU_SOURCE only, which Swift does not define: a wait below a millisecond needs it.
int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
