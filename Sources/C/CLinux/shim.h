#pragma once
// What the toolchain's Glibc module leaves out.
#include <malloc.h>       // how glibc keeps freed memory
#include <sys/eventfd.h>  // a wake-up that can be polled beside a socket
#include <sys/prctl.h>

// prctl is variadic, and Swift imports no variadic functions.
static inline void sluice_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
