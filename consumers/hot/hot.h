/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_HOT_H
#define LATIDO_HOT_H

#include "latido/daemon.h"

/** latido-hot: what lt_daemon_main() needs to know. */
extern const struct lt_daemon hot_daemon;

#endif
