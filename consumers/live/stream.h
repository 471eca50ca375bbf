/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_STREAM_H
#define LATIDO_LIVE_STREAM_H

#include "hub.h"

/* The open streams: who gets which frame, who is slow, who comes back. Loop thread only. */

struct streams;

struct streams *streams_new(struct lt_loop *loop, const struct lt_config *conf, struct hub *h);
/** streams_open() - GET /api/v1/stream; ends @req. @login: names session or token, 0 = none. */
void streams_open(struct streams *t, struct http_req *req, uint64_t login);
/** streams_end_login() - its streams are told and closed. */
void streams_end_login(struct streams *t, uint64_t login);
/** streams_check() - those with a login for which @ok says no are told and closed. */
void streams_check(struct streams *t, bool (*ok)(void *arg, uint64_t login), void *arg);
/** streams_stop() - all are told that the server stops, and closed. */
void streams_stop(struct streams *t);
void streams_free(struct streams *t);

#endif
