/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_INBOX_H
#define LATIDO_INBOX_H

#include "latido/bus.h"
#include "latido/spool.h"

/*
 * The inbox: what devices sent, on disk before the broker hears that we have it. Numbered events
 * need none of it, their source sends them again; a device cannot. A message leaves the inbox when
 * the sink has it (or its dead letter was accepted); what is left at a start is processed first.
 */

struct lt_inbox;

/**
 * lt_inbox_open() - @wake: any thread: lt_inbox_next() may have something.
 * Return: NULL with @err.
 */
struct lt_inbox *lt_inbox_open(const char *dir, int64_t max_bytes, const char *prefix,
	void (*wake)(void *arg), void *arg, struct lt_err *err);
/** lt_inbox_keep() - for lt_bus_options. */
const struct lt_bus_keep *lt_inbox_keep(struct lt_inbox *in);
/** lt_inbox_next() - the next message of an earlier life, or NULL: none (yet). */
struct lt_bus_msg *lt_inbox_next(struct lt_inbox *in);
/** lt_inbox_replaying() - lt_inbox_next() has not returned all of the earlier life yet. */
bool lt_inbox_replaying(struct lt_inbox *in);
/** lt_inbox_freeze() - messages that are given back from now on were not processed. */
void lt_inbox_freeze(struct lt_inbox *in);
/** lt_inbox_free() - after the bus. */
void lt_inbox_free(struct lt_inbox *in);
void lt_inbox_stats(struct lt_inbox *in);

#endif
