/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CORE_SD_NOTIFY_H
#define LATIDO_CORE_SD_NOTIFY_H

#include <stdint.h>

#include "latido/err.h"

/**
 * lt_sd_notify() - tell the service manager ("READY=1", "STATUS=...", lines joined by '\n')
 *
 * The datagram protocol of sd_notify(3) over AF_UNIX, without libsystemd. Without NOTIFY_SOCKET
 * in the environment it does nothing.
 */
void lt_sd_notify(const char *fmt, ...) LT_PRINTF(1, 2);

/** lt_sd_watchdog_us() - WATCHDOG_USEC when it is meant for this process, else 0. */
int64_t lt_sd_watchdog_us(void);

#endif
