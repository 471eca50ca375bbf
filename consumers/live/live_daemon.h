/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_LIVE_DAEMON_H
#define LATIDO_LIVE_LIVE_DAEMON_H

#include "latido/daemon.h"

extern const struct lt_daemon live_daemon;

#endif
