/* SPDX-License-Identifier: MIT */
#include "hot.h"

#include "latido/consumer.h"
#include "latido/sink_redis.h"

static void failed(void *arg, const struct lt_err *err)
{
	lt_daemon_fail(arg, err->cls == LT_CLS_CONFIG ? LT_EXIT_CONFIG : LT_EXIT_FAILURE, err);
}

static void drained(void *arg, bool complete)
{
	struct lt_ctx *ctx = arg;

	if (!complete)
		ctx->exit_code = LT_EXIT_KILLED;
	lt_daemon_drained(ctx);
}

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
		.comp = "hot",
		.conf = ctx->conf,
		.batch = &ctx->conf->hot.batch,
		.drain_timeout_ms = ctx->conf->hot.drain_timeout_ms,
		.sink = &lt_sink_redis_ops,
		.arg = ctx,
		.failed = failed,
		.drained = drained,
	};

	lt_stats_add(lt_sink_redis_stats, lt_sink_redis_stats_n);
	ctx->priv = lt_consumer_new(&opt, &ctx->loop, err);
	if (!ctx->priv)
		return err ? err->code : LT_EIO;
	return lt_consumer_start(ctx->priv, err);
}

static void drain(struct lt_ctx *ctx)
{
	lt_consumer_drain(ctx->priv);
}

static void fini(struct lt_ctx *ctx)
{
	lt_consumer_free(ctx->priv);
	ctx->priv = NULL;
}

const struct lt_daemon hot_daemon = {
	.name = "latido-hot",
	.comp = "hot",
	.synopsis = "Keep the newest values and a recent window of every source in Redis.",
	.admin_listen = admin_listen,
	.drain_timeout_ms = drain_timeout_ms,
	.start = start,
	.drain = drain,
	.fini = fini,
};
