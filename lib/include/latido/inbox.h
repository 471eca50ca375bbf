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
 * struct lt_inbox_options - what is kept where
 * @start: what the topics of such messages begin with.
 * @wake: any thread: lt_inbox_next() may have something.
 */
struct lt_inbox_options {
	const char *dir;
	const char *name; /* label of the metrics; static */
	const char *start;
	int64_t max_bytes, max_age_ms; /* age 0 = any */
	void (*wake)(void *arg);
	void *arg;
};

/** lt_inbox_open() - Return: NULL with @err. */
struct lt_inbox *lt_inbox_open(const struct lt_inbox_options *opt, struct lt_err *err);
/** lt_inbox_devices() - the inbox of what devices send, below <prefix>/devices/. */
struct lt_inbox *lt_inbox_devices(const char *dir, int64_t max_bytes, const char *prefix,
	void (*wake)(void *arg), void *arg, struct lt_err *err);
/**
 * lt_inbox_record() - what a record of an inbox holds
 * @type: content type, "" = none. All point into the record.
 * Return: false: not one of ours, whatever its checksum says.
 */
bool lt_inbox_record(const void *record, size_t size, const char **topic, const char **type,
	const void **data, size_t *data_size);
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
