/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/alert/sink_alert.h"
#include "latido/clock.h"
#include "latido/consumer.h"
#include "latido/rules.h"

#define WARM_MS 300000 /* Kafka: at least what an instant selector looks back */

static const char *check_rules, *test_rules;
static char **more_files;
static size_t n_more_files;
static struct lt_publisher *publisher;
static char *client;
static bool connected;

static const struct lt_option options[] = {
	{.name = "check-rules",
		.arg = "FILE...",
		.help = "check rule files and exit",
		.value = &check_rules,
		.more = &more_files,
		.n_more = &n_more_files},
	{.name = "test-rules",
		.arg = "FILE...",
		.help = "run rule tests (promtool's format) and exit",
		.value = &test_rules,
		.more = &more_files,
		.n_more = &n_more_files},
};

static int command(struct lt_ctx *ctx)
{
	struct lt_promql_limits limits;
	struct lt_label_text *labels;
	struct lt_rules_opts opts;
	struct lt_buf out = {0};
	const char **files;
	size_t n = 0;
	int rc;

	if (!check_rules && !test_rules)
		return -1;
	files = lt_calloc(n_more_files + 2, sizeof(*files));
	if (check_rules)
		files[n++] = check_rules;
	if (test_rules)
		files[n++] = test_rules;
	for (size_t i = 0; i < n_more_files; i++)
		files[n++] = more_files[i];
	lt_engine_rules_opts(&ctx->conf->alert, &opts, &limits, &labels);
	rc = check_rules ? lt_engine_check(files, n, &ctx->conf->alert, &opts, &out)
			 : lt_rules_test(files, n, &opts, &out);
	fwrite(out.data, 1, out.len, stdout);
	lt_buf_fini(&out);
	free(labels);
	free(files);
	if (fflush(stdout) != 0)
		return LT_EXIT_FAILURE;
	return rc == LT_OK ? LT_EXIT_OK : LT_EXIT_FAILURE;
}

static const char *admin_listen(const struct lt_config *conf)
{
	return conf->alert.admin;
}

static int64_t drain_timeout_ms(const struct lt_config *conf)
{
	return conf->alert.drain_timeout_ms;
}

static struct lt_engine *engine_of(struct lt_ctx *ctx)
{
	return lt_sink_alert_engine(lt_consumer_sink(ctx->priv));
}

static void bus_state(void *arg, bool is_connected, bool resumed)
{
	connected = is_connected;
	lt_engine_bus(engine_of(arg), connected, resumed);
	if (connected)
		lt_publisher_flush(publisher);
}

static void writable(void *arg)
{
	(void)arg;
	lt_publisher_flush(publisher);
}

/* What was published has arrived; with a broker that is away it stays with the next leader. */
static bool finished(void *arg)
{
	struct lt_ctx *ctx = arg;

	return !connected ||
	       (lt_publisher_empty(publisher) && lt_bus_inflight(lt_consumer_bus(ctx->priv)) == 0);
}

static int start(struct lt_ctx *ctx, struct lt_err *err)
{
	const struct lt_alert_conf *c = &ctx->conf->alert;
	int64_t longest_ms = c->dense_window_ms > WARM_MS ? c->dense_window_ms : WARM_MS;
	struct lt_consumer_options opt = {
		.batch = &c->batch,
		.sink = &lt_sink_alert_ops,
		.everything = true,
		.publishes = true,
		.since_ns = lt_wall_ns() - longest_ms * LT_NS_PER_MS,
		.bus_state = bus_state,
		.writable = writable,
		.finished = finished,
	};
	int rc;

	if (*c->instance)
		opt.client = client = lt_asprintf("alert-%s", c->instance);
	publisher =
		lt_publisher_new(&ctx->loop, (size_t)c->queue, &lt_alert_info.outputs.publish, err);
	if (!publisher)
		return err->code;
	lt_alert_stats_add();
	rc = lt_consumer_daemon_new(ctx, &opt, err);
	if (rc != LT_OK)
		return rc;
	if (c->publish)
		lt_sink_alert_publisher(lt_consumer_sink(ctx->priv), publisher);
	lt_publisher_bus(publisher, lt_consumer_bus(ctx->priv));
	return lt_consumer_start(ctx->priv, err);
}

static void reload(struct lt_ctx *ctx, const struct lt_config *fresh)
{
	lt_engine_reload(engine_of(ctx), &fresh->alert);
}

static void drain(struct lt_ctx *ctx)
{
	lt_consumer_daemon_drain(ctx);
}

static void fini(struct lt_ctx *ctx)
{
	if (publisher)
		lt_publisher_bus(publisher, NULL);
	lt_consumer_daemon_fini(ctx);
	lt_publisher_free(publisher);
	free(more_files);
	free(client);
}

static const struct lt_daemon alert = {
	.name = "latido-alert",
	.comp = "alert",
	.synopsis = "Evaluate alert rules on the stream and tell who is to know.",
	.options = options,
	.n_options = LT_ARRAY_LEN(options),
	.admin_listen = admin_listen,
	.drain_timeout_ms = drain_timeout_ms,
	.command = command,
	.start = start,
	.reload = reload,
	.drain = drain,
	.fini = fini,
};

int main(int argc, char **argv)
{
	return lt_daemon_main(&alert, argc, argv);
}
