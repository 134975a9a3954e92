#pragma once
#include <curl/curl.h>

/* curl_easy_setopt and curl_easy_getinfo are variadic, which Swift does not import: one typed
   wrapper for each kind of argument. The parentheses keep curl's type-checking macros away. */

static inline CURLcode sluice_curl_set_long(CURL *handle, CURLoption option, long value) {
    return (curl_easy_setopt)(handle, option, value);
}
static inline CURLcode sluice_curl_set_offset(CURL *handle, CURLoption option, curl_off_t value) {
    return (curl_easy_setopt)(handle, option, value);
}
static inline CURLcode sluice_curl_set_string(CURL *handle, CURLoption option, const char *value) {
    return (curl_easy_setopt)(handle, option, value);
}
static inline CURLcode sluice_curl_set_pointer(CURL *handle, CURLoption option, void *value) {
    return (curl_easy_setopt)(handle, option, value);
}

typedef size_t (*sluice_curl_data)(char *, size_t, size_t, void *);
typedef int (*sluice_curl_seek)(void *, curl_off_t, int);
typedef int (*sluice_curl_progress)(void *, curl_off_t, curl_off_t, curl_off_t, curl_off_t);

static inline CURLcode sluice_curl_set_data(CURL *handle, CURLoption option, sluice_curl_data function) {
    return (curl_easy_setopt)(handle, option, function);
}
static inline CURLcode sluice_curl_set_seek(CURL *handle, sluice_curl_seek function) {
    return (curl_easy_setopt)(handle, CURLOPT_SEEKFUNCTION, function);
}
static inline CURLcode sluice_curl_set_progress(CURL *handle, sluice_curl_progress function) {
    return (curl_easy_setopt)(handle, CURLOPT_XFERINFOFUNCTION, function);
}
static inline CURLcode sluice_curl_get_long(CURL *handle, CURLINFO info, long *value) {
    return (curl_easy_getinfo)(handle, info, value);
}

/* A macro with a cast, which Swift does not import. */
static const long sluice_curl_global_all = CURL_GLOBAL_ALL;
