/* SPDX-License-Identifier: MIT */
#include "latido/consumer.h"

static void failed(void *arg, const struct lt_err *err)
{
	lt_daemon_fail(arg, err);
}

static void drained(void *arg, bool complete)
{
	struct lt_ctx *ctx = arg;

	if (!complete)
		ctx->exit_code = LT_EXIT_KILLED;
	lt_daemon_drained(ctx);
}

int lt_consumer_daemon_new(
	struct lt_ctx *ctx, const struct lt_consumer_options *opt, struct lt_err *err)
{
	struct lt_consumer_options full = *opt;

	full.comp = ctx->daemon->comp;
	full.conf = ctx->conf;
	full.drain_timeout_ms = ctx->daemon->drain_timeout_ms(ctx->conf);
	full.arg = ctx;
	full.failed = failed;
	full.drained = drained;
	ctx->priv = lt_consumer_new(&full, &ctx->loop, err);
	return ctx->priv ? LT_OK : err->code;
}

int lt_consumer_daemon_start(
	struct lt_ctx *ctx, const struct lt_consumer_options *opt, struct lt_err *err)
{
	int rc = lt_consumer_daemon_new(ctx, opt, err);

	return rc == LT_OK ? lt_consumer_start(ctx->priv, err) : rc;
}

void lt_consumer_daemon_drain(struct lt_ctx *ctx)
{
	lt_consumer_drain(ctx->priv);
}

void lt_consumer_daemon_fini(struct lt_ctx *ctx)
{
	lt_consumer_free(ctx->priv);
	ctx->priv = NULL;
}
