/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BUS_QUEUE_H
#define LATIDO_BUS_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/bus.h"

/*
 * What every transport keeps: messages received and not yet done, and messages accepted for
 * publishing and not yet reported. None of this locks; the owner does.
 */

/** struct lt_in - one received message and its place in the queue; one allocation */
struct lt_in {
	struct lt_bus_msg m;        /* first: lt_bus_done() gets it back as this */
	struct lt_in *prev, *next;  /* all that are not done */
	struct lt_in *next_waiting; /* not polled yet */
	size_t cost_bytes;
};

struct lt_inq {
	struct lt_in *all;
	struct lt_in *waiting, **waiting_end;
	size_t held_bytes; /* of all */
	size_t peak_bytes;
	bool want_readable; /* poll found nothing: the next message is to be announced */
	bool readable;      /* to be announced */
};

/** lt_in_new() - copy a message; @content_type may be NULL. */
struct lt_in *lt_in_new(const char *topic, size_t topic_len, const void *data, size_t size,
	const char *content_type, size_t content_type_len);

void lt_inq_init(struct lt_inq *q);
/** lt_inq_fini() - free all, also those that were polled and not done. */
void lt_inq_fini(struct lt_inq *q);
/** lt_inq_push() - takes @in. Return: true when the user is to be told. */
bool lt_inq_push(struct lt_inq *q, struct lt_in *in);
size_t lt_inq_poll(struct lt_inq *q, struct lt_bus_msg **out, size_t max);
/** lt_inq_remove() - unlink a message that was polled; the caller frees what is returned. */
struct lt_in *lt_inq_remove(struct lt_inq *q, struct lt_bus_msg *m);

/** struct lt_out - one accepted message; one allocation */
struct lt_out {
	struct lt_out *prev, *next; /* in order of acceptance */
	struct lt_out *next_send;   /* in the hands of the sending thread */
	struct lt_out *next_done;   /* result known, not yet reported */
	struct lt_bus_out m;        /* strings and data are copies */
	void *owner;
	int64_t accepted_ns; /* lt_mono_ns() */
	bool sent;
	bool done;
	int code;   /* with done */
	int reason; /* the transport's own code, for the error text */
};

struct lt_outq {
	struct lt_out *head, *tail;
	struct lt_out *unsent; /* first one with !sent */
	size_t n;              /* all */
	size_t n_sent;         /* sent and not done */
	size_t n_reported;     /* those that count for lt_bus_inflight(): not at_most_once */
};

struct lt_out *lt_out_new(const struct lt_bus_out *m);
void lt_outq_fini(struct lt_outq *q);
void lt_outq_add(struct lt_outq *q, struct lt_out *o);
/** lt_outq_next() - the oldest one that is not sent, now marked as sent; NULL: none. */
struct lt_out *lt_outq_next(struct lt_outq *q);
/** lt_outq_remove() - unlink; the caller frees. */
void lt_outq_remove(struct lt_outq *q, struct lt_out *o);
/**
 * lt_outq_rewind() - the connection is gone: everything is to be sent again
 *
 * What is at_most_once is forgotten instead.
 */
void lt_outq_rewind(struct lt_outq *q);

/**
 * struct lt_takeovers - how often another client with our id pushed us out
 */
struct lt_takeovers {
	int64_t at_ns[3];
	unsigned n;
};

/**
 * lt_takeover_note() - it happened again, or seems to have
 * @certain: the broker said so. Mosquitto 2.0.11 just closes the connection; the caller
 *	then notes those that the broker closed soon after it had accepted them.
 *
 * Three times in a minute is not a bad network but two programs with one client id.
 * Return: LT_ECONF (CONFIG) with @err; LT_EIO (RETRY) with @err if @certain; LT_OK: no verdict.
 */
int lt_takeover_note(struct lt_takeovers *t, int64_t now_ns, const char *client_id, bool certain,
	struct lt_err *err);

#endif
