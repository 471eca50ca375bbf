/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "bus_mqtt.h"
#include "latido/clock.h"

/*
 * paho's thread and the loop are as fast as each other. If each message woke the loop, it would go
 * back to sleep after each one, and two system calls and two changes of thread would come with it.
 * So while messages come one after the other, the loop looks for itself, this often.
 */
#define LOOK_NS  (1 * LT_NS_PER_MS)
/* Messages given back that are taken off the queue together: one lock for all. */
#define BACK_MAX 64

static void announce(struct lt_mq_in *in)
{
	in->told_ns = lt_mono_ns();
	in->found = false;
	in->readable(in->arg);
}

static void look(void *arg)
{
	announce(arg);
}

void lt_mq_in_init(struct lt_mq_in *in, struct lt_mq_core *core, struct lt_loop *loop,
	lt_loop_fn readable, void *arg)
{
	in->core = core;
	in->readable = readable;
	in->arg = arg;
	lt_timer_init(&in->look, loop, look, in);
}

void lt_mq_in_fini(struct lt_mq_in *in)
{
	lt_timer_fini(&in->look);
}

void lt_mq_in_announce(struct lt_mq_in *in)
{
	in->dense = lt_mono_ns() - in->told_ns < 2 * LOOK_NS;
	announce(in);
}

/* With the lock. Return: the list of what was taken off. */
static struct lt_in *take_back(struct lt_mq_in *in)
{
	struct lt_mq_core *c = in->core;
	struct lt_in *list = in->back;

	for (struct lt_in *m = list; m; m = m->next_waiting)
		lt_inq_remove(&c->in, &m->m);
	in->back = NULL;
	in->n_back = in->back_bytes = 0;
	in->held_bytes = c->in.held_bytes;
	if (list) {
		c->given_back_ns = lt_mono_ns();
		pthread_cond_signal(&c->space);
	}
	return list;
}

static void free_list(struct lt_in *list)
{
	while (list) {
		struct lt_in *next = list->next_waiting;

		free(list);
		list = next;
	}
}

size_t lt_mq_in_poll(struct lt_mq_in *in, struct lt_bus_msg **out, size_t max)
{
	struct lt_mq_core *c = in->core;
	struct lt_in *list;
	bool again = false;
	size_t n;

	pthread_mutex_lock(&c->lock);
	list = take_back(in);
	n = lt_inq_poll(&c->in, out, max);
	if (n)
		in->found = true;
	else if (c->in.want_readable && in->dense && in->found) {
		c->in.want_readable = false;
		again = true;
	}
	pthread_mutex_unlock(&c->lock);
	if (again && !lt_timer_pending(&in->look))
		lt_timer_start_ns(&in->look, LOOK_NS);
	free_list(list);
	return n;
}

void lt_mq_in_flush(struct lt_mq_in *in)
{
	struct lt_in *list;

	pthread_mutex_lock(&in->core->lock);
	list = take_back(in);
	pthread_mutex_unlock(&in->core->lock);
	free_list(list);
}

bool lt_mq_in_done(struct lt_mq_in *in, struct lt_bus_msg *m)
{
	struct lt_in *one = (struct lt_in *)m;

	one->next_waiting = in->back;
	in->back = one;
	in->back_bytes += one->cost_bytes;
	in->held_bytes -= one->cost_bytes;
	return ++in->n_back >= BACK_MAX || in->back_bytes >= in->core->limit_bytes / 16;
}
