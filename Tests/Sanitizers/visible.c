// Preloaded by ops/sanitize: makes visible to the sanitizers what they do not intercept. It changes no behaviour and hides
// no report; without it there are false ones.
//
// 1. librdkafka's threads, mutexes and conditions are C11's (thrd_create, mtx_lock, cnd_wait), which the sanitizers of LLVM do
//    not know: a thread that they did not see begin crashes the thread sanitizer and hides its stack from the leak check. In
//    glibc each is its pthread namesake, of the same size and layout, which they do know.
// 2. Swift's `Mutex` on Linux takes its word by an atomic exchange in the caller's code, which the thread sanitizer sees;
//    where two threads meet, it goes on in libswiftSynchronization.so, which it does not. The three slow paths get their
//    ordering back, on the same word.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t), "another C library");

static int answer(int code) {
    switch (code) {
    case 0: return thrd_success;
    case EBUSY: return thrd_busy;
    case ETIMEDOUT: return thrd_timedout;
    case ENOMEM: return thrd_nomem;
    default: return thrd_error;
    }
}

struct start {
    thrd_start_t function;
    void *argument;
};

static void *begin(void *box) {
    struct start start = *(struct start *)box;
    free(box);
    return (void *)(intptr_t)start.function(start.argument);
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *argument) {
    struct start *start = malloc(sizeof *start);
    if (!start) return thrd_nomem;
    *start = (struct start){function, argument};
    int code = pthread_create((pthread_t *)thread, NULL, begin, start);
    if (code) free(start);
    return answer(code);
}

int thrd_join(thrd_t thread, int *result) {
    void *value = NULL;
    int code = pthread_join((pthread_t)thread, &value);
    if (!code && result) *result = (int)(intptr_t)value;
    return answer(code);
}

int thrd_detach(thrd_t thread) { return answer(pthread_detach((pthread_t)thread)); }

int mtx_init(mtx_t *mutex, int type) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    if (type & mtx_recursive) pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    int code = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return answer(code);
}

int mtx_lock(mtx_t *mutex) { return answer(pthread_mutex_lock((pthread_mutex_t *)mutex)); }
int mtx_trylock(mtx_t *mutex) { return answer(pthread_mutex_trylock((pthread_mutex_t *)mutex)); }
int mtx_unlock(mtx_t *mutex) { return answer(pthread_mutex_unlock((pthread_mutex_t *)mutex)); }
void mtx_destroy(mtx_t *mutex) { pthread_mutex_destroy((pthread_mutex_t *)mutex); }

int cnd_init(cnd_t *condition) { return answer(pthread_cond_init((pthread_cond_t *)condition, NULL)); }
int cnd_signal(cnd_t *condition) { return answer(pthread_cond_signal((pthread_cond_t *)condition)); }
int cnd_broadcast(cnd_t *condition) { return answer(pthread_cond_broadcast((pthread_cond_t *)condition)); }
void cnd_destroy(cnd_t *condition) { pthread_cond_destroy((pthread_cond_t *)condition); }

int cnd_wait(cnd_t *condition, mtx_t *mutex) {
    return answer(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    return answer(pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until));
}

// Only in a program with the thread sanitizer.
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

// Synchronization._MutexHandle: `self` is the address of its word.
#define HANDLE __attribute__((swift_context)) void *handle
#define SWIFT(result, name) __attribute__((swiftcall)) result name

#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK_SLOW "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

SWIFT(void, lock_slow)(uint32_t thread, HANDLE) __asm__(LOCK_SLOW);
SWIFT(bool, try_lock_slow)(HANDLE) __asm__(TRY_LOCK_SLOW);
SWIFT(void, unlock_slow)(HANDLE) __asm__(UNLOCK_SLOW);

SWIFT(void, lock_slow)(uint32_t thread, HANDLE) {
    typedef __attribute__((swiftcall)) void (*original)(uint32_t, HANDLE);
    ((original)dlsym(RTLD_NEXT, LOCK_SLOW))(thread, handle);
    if (__tsan_acquire) __tsan_acquire(handle);
}

SWIFT(bool, try_lock_slow)(HANDLE) {
    typedef __attribute__((swiftcall)) bool (*original)(HANDLE);
    bool taken = ((original)dlsym(RTLD_NEXT, TRY_LOCK_SLOW))(handle);
    if (taken && __tsan_acquire) __tsan_acquire(handle);
    return taken;
}

SWIFT(void, unlock_slow)(HANDLE) {
    typedef __attribute__((swiftcall)) void (*original)(HANDLE);
    if (__tsan_release) __tsan_release(handle);
    ((original)dlsym(RTLD_NEXT, UNLOCK_SLOW))(handle);
}
