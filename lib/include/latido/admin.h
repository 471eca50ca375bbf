/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ADMIN_H
#define LATIDO_ADMIN_H

#include "latido/loop.h"

/**
 * The admin listener of a daemon (evhttp): GET and HEAD of /metrics (Prometheus text), /healthz (the
 * loop turns), /readyz (200, or 503 with the reason of each dependency as JSON), /version.
 */
struct lt_admin;

/**
 * lt_admin_new() - listen on @address ("127.0.0.1:9501", "[::1]:9501"; port 0 takes a free one)
 * Return: NULL with @err (CONFIG: malformed; RETRY: in use).
 */
struct lt_admin *lt_admin_new(struct lt_loop *loop, const char *address, struct lt_err *err);
/** lt_admin_port() - the bound TCP port. */
int lt_admin_port(const struct lt_admin *a);
void lt_admin_free(struct lt_admin *a);

#endif
