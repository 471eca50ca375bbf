/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_STORE_H
#define LATIDO_STORE_H

#include "latido/daemon.h"

/** store_daemon - latido-store: everything into PostgreSQL, exactly once. */
extern const struct lt_daemon store_daemon;

#endif
