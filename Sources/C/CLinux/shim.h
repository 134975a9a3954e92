#pragma once
// What the toolchain's Glibc module leaves out.
#include <malloc.h>       // how glibc keeps freed memory
#include <sched.h>
#include <sys/eventfd.h>  // a wake-up that can be polled beside a socket
#include <sys/prctl.h>

// prctl is variadic, and Swift imports no variadic functions.
static inline void sluice_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

// SCHED_BATCH, which only _GNU_SOURCE defines.
static const int sluice_sched_batch = 3;

// Has a line of memory brought to this processor while it does something else.
static inline void sluice_prefetch(const void *address) { __builtin_prefetch(address); }
