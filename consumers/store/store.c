/* SPDX-License-Identifier: MIT */
#include "store.h"

#include <stdio.h>

#include "latido/consumer.h"
#include "latido/sink_pg.h"

static bool only_migrate;

static const struct lt_option options[] = {
	{.name = "migrate",
		.help = "bring the database to this program's schema and exit",
		.flag = &only_migrate},
};

static int exit_code(const struct lt_err *err)
{
	return err->cls == LT_CLS_CONFIG ? LT_EXIT_CONFIG : LT_EXIT_FAILURE;
}

static int command(struct lt_ctx *ctx)
{
	struct lt_err err = {0};
	size_t n, applied = 0;
	const struct lt_migration *list;

	if (!only_migrate)
		return -1;
	list = lt_migrations(&n);
	if (lt_pg_migrate(ctx->conf, list, n, &applied, &err) != LT_OK) {
		fprintf(stderr, "latido-store: %s\n", err.msg);
		return exit_code(&err);
	}
	printf("schema version %d, %zu migration%s applied now\n", list[n - 1].version, applied,
		applied == 1 ? "" : "s");
	return LT_EXIT_OK;
}

static void failed(void *arg, const struct lt_err *err)
{
	lt_daemon_fail(arg, exit_code(err), err);
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
	return conf->store.admin;
}

static int64_t drain_timeout_ms(const struct lt_config *conf)
{
	return conf->store.drain_timeout_ms;
}

static int start(struct lt_ctx *ctx, struct lt_err *err)
{
	const struct lt_consumer_options opt = {
		.comp = "store",
		.conf = ctx->conf,
		.batch = &ctx->conf->store.batch,
		.drain_timeout_ms = ctx->conf->store.drain_timeout_ms,
		.sink = &lt_sink_pg_ops,
		.backlog = true,
		.arg = ctx,
		.failed = failed,
		.drained = drained,
	};

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

const struct lt_daemon store_daemon = {
	.name = "latido-store",
	.comp = "store",
	.synopsis = "Store the events of every source in PostgreSQL, each exactly once.",
	.options = options,
	.n_options = LT_ARRAY_LEN(options),
	.admin_listen = admin_listen,
	.drain_timeout_ms = drain_timeout_ms,
	.command = command,
	.start = start,
	.drain = drain,
	.fini = fini,
};
