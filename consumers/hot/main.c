/* SPDX-License-Identifier: MIT */
#include "latido/consumer.h"
#include "latido/sink_redis.h"

static const char *admin_listen(const struct lt_config *conf)
{
	return conf->hot.admin;
}

static int64_t drain_timeout_ms(const struct lt_config *conf)
{
	return conf->hot.drain_timeout_ms;
}

static int start(struct lt_ctx *ctx, struct lt_err *err)
{
	const struct lt_consumer_options opt = {
		.batch = &ctx->conf->hot.batch,
		.sink = &lt_sink_redis_ops,
	};

	lt_stats_add(lt_sink_redis_stats, lt_sink_redis_stats_n);
	return lt_consumer_daemon_start(ctx, &opt, err);
}

static const struct lt_daemon hot = {
	.name = "latido-hot",
	.comp = "hot",
	.synopsis = "Keep the newest values and a recent window of every source in Redis.",
	.admin_listen = admin_listen,
	.drain_timeout_ms = drain_timeout_ms,
	.start = start,
	.drain = lt_consumer_daemon_drain,
	.fini = lt_consumer_daemon_fini,
};

int main(int argc, char **argv)
{
	return lt_daemon_main(&hot, argc, argv);
}
