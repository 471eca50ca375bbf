/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BUS_MEM_INT_H
#define LATIDO_BUS_MEM_INT_H

#include <pthread.h>

#include "bus_int.h"
#include "bus_queue.h"
#include "latido/clock.h"
#include "latido/mem.h"

/* The in-memory bus: bus_mem.c is a client, bus_mem_broker.c what it connects to. */

struct mem_bus;

/* A message that waits for a session, or a retained one. */
struct item {
	struct item *next;
	struct lt_in *in;   /* its copy, ready to be delivered */
	int64_t expires_ns; /* lt_mono_ns(); 0 = never */
};

struct session {
	struct session *next;
	char *client_id;
	char **filters;
	size_t n_filters;
	bool durable;
	struct mem_bus *bus; /* connected, or NULL */
	struct item *queue, **queue_end;
	size_t n_queued;
};

struct broker {
	struct broker *next;
	char *name;
	struct session *sessions;
	struct item *retained;
	bool down;
	bool hold_acks;
	size_t limit_bytes;
	char *refuse_filter;
	int refuse_code;
	bool refuse_connect;
	struct lt_err connect_err;
};

/* What happened to a bus, for its loop. */
struct mem_ev {
	struct mem_ev *next;
	bool takeover;
	struct lt_err err;
};

struct mem_bus {
	struct lt_bus base;
	struct broker *broker;
	struct lt_waker waker;
	struct lt_timer timer; /* to the next connect */
	struct lt_backoff backoff;
	struct lt_takeovers takeovers;
	char *client_id;
	char **topics;
	size_t n_topics;
	bool durable, no_retained;
	bool subscribed; /* this bus has told the session its filters */
	bool want_writable;
	/* under lt_membus_lock */
	bool connected;
	bool stopped;
	struct session *session;
	struct lt_inq in;
	struct lt_outq out;
	struct lt_out *acked, **acked_end;
	struct mem_ev *lost;
	char *will_topic;
	struct lt_buf will;
};

/* One lock for everything: this is for tests. */
extern pthread_mutex_t lt_membus_lock;

/* All under lt_membus_lock. */

/** lt_membus_broker_get() - by name; made when it is not there. */
struct broker *lt_membus_broker_get(const char *name);
/** lt_membus_attach() - connect a bus. Return: true when its session existed. */
bool lt_membus_attach(struct mem_bus *b);
/** lt_membus_disconnect() - @err: not regularly, so the will is due and the bus is told why. */
void lt_membus_disconnect(struct mem_bus *b, const struct lt_err *err, bool takeover);
void lt_membus_forget_will(struct mem_bus *b);
/** lt_membus_session_pump() - move what the session has into the bus, as far as its budget allows. */
void lt_membus_session_pump(struct session *s);
/** lt_membus_session_subscribe() - replace the filters. */
void lt_membus_session_subscribe(struct session *s, char **topics, size_t n);
/** lt_membus_pump() - send what is accepted and not sent; in order. */
void lt_membus_pump(struct mem_bus *b);

#endif
