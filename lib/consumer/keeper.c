/* SPDX-License-Identifier: MIT */
#include "latido/keeper.h"

#include <stdlib.h>

#include "latido/inbox.h"
#include "latido/log.h"

struct lt_keeper {
	struct lt_bus_conf conf; /* with a client id of its own */
	char *client_id, *topic;
	const char *topics[1];
	struct lt_inbox *letters;
	struct lt_bus_keep keep;
	struct lt_bus *bus;
	struct lt_complaint complaint;
};

static void done(void *arg, uint64_t kept)
{
	(void)arg;
	(void)kept; /* it stays */
}

static void wake(void *arg)
{
	(void)arg; /* nothing is processed again */
}

static void on_readable(void *arg)
{
	struct lt_keeper *k = arg;
	struct lt_bus_msg *m;

	while (lt_bus_poll(k->bus, &m, 1) == 1)
		lt_bus_done(k->bus, m);
}

static void on_state(void *arg, bool connected, bool resumed, const struct lt_err *err)
{
	struct lt_keeper *k = arg;

	(void)resumed;
	if (connected)
		lt_release(&k->complaint, "deadletters_kept_again");
	else
		lt_complain(&k->complaint, LT_WARN, "deadletters_unread", LT_S("topic", k->topic),
			LT_S("err", err ? err->msg : NULL));
}

int lt_keeper_start(struct lt_keeper **out, const struct lt_keeper_options *opt, struct lt_err *err)
{
	struct lt_bus_options bus = {
		.comp = "deadletters", .durable = true, .no_retained = true, .n_topics = 1};
	struct lt_inbox_options inbox = {.dir = opt->dir,
		.name = "deadletters",
		.start = "",
		.max_bytes = opt->max_bytes,
		.max_age_ms = opt->max_age_ms,
		.wake = wake};
	struct lt_bus_handler handler = {.readable = on_readable, .state = on_state};
	struct lt_keeper *k;

	*out = NULL;
	if (!opt->dir || !opt->dir[0])
		return LT_OK;
	k = lt_calloc(1, sizeof(*k));
	k->conf = *opt->bus;
	if (k->conf.mqtt.client_id && k->conf.mqtt.client_id[0])
		k->client_id = lt_asprintf("%s-deadletters", k->conf.mqtt.client_id);
	k->conf.mqtt.client_id = k->client_id;
	k->topic = lt_asprintf("%s/deadletter/#", opt->bus->prefix);
	k->topics[0] = k->topic;
	bus.topics = k->topics;
	bus.keep = &k->keep;
	handler.arg = k;
	k->bus = lt_bus_new(&k->conf, &bus, &handler, opt->loop, err);
	if (!k->bus)
		goto fail;
	if (lt_bus_caps(k->bus) & LT_BUS_PARTITIONS) { /* they are kept where they are */
		lt_keeper_free(k);
		return LT_OK;
	}
	k->letters = lt_inbox_open(&inbox, err);
	if (!k->letters)
		goto fail;
	k->keep = *lt_inbox_keep(k->letters);
	k->keep.done = done;
	lt_inbox_stats(k->letters);
	if (lt_bus_open(k->bus, err) < 0)
		goto fail;
	*out = k;
	return LT_OK;
fail:
	lt_keeper_free(k);
	return err->code;
}

void lt_keeper_free(struct lt_keeper *k)
{
	if (!k)
		return;
	lt_bus_free(k->bus);
	lt_inbox_free(k->letters);
	free(k->client_id);
	free(k->topic);
	free(k);
}
