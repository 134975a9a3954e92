#pragma once
#include <microhttpd.h>

// Enumerators of enums that Swift imports without their names.
static const enum MHD_ResponseMemoryMode sluice_mhd_must_copy = MHD_RESPMEM_MUST_COPY;
static const enum MHD_Result sluice_mhd_yes = MHD_YES;
static const enum MHD_Result sluice_mhd_no = MHD_NO;
// Options are passed as arguments of a variadic list, where an enum is an int.
static const int sluice_mhd_option_end = MHD_OPTION_END;
static const int sluice_mhd_option_address = MHD_OPTION_SOCK_ADDR;
static const int sluice_mhd_option_connections = MHD_OPTION_CONNECTION_LIMIT;
static const int sluice_mhd_option_timeout = MHD_OPTION_CONNECTION_TIMEOUT;
static const int sluice_mhd_option_memory = MHD_OPTION_CONNECTION_MEMORY_LIMIT;
static const int sluice_mhd_option_threads = MHD_OPTION_THREAD_POOL_SIZE;

// MHD_get_daemon_info is variadic, which Swift does not import. 0 where the port is not known.
static inline uint16_t sluice_mhd_bound_port(struct MHD_Daemon *daemon) {
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
  return info == NULL ? 0 : info->port;
}
