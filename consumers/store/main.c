/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "latido/consumer.h"
#include "latido/keeper.h"
#include "latido/sink_pg.h"

static bool only_migrate;
static struct lt_keeper *keeper;

static const struct lt_option options[] = {
	{.name = "migrate",
		.help = "bring the database to this program's schema and exit",
		.flag = &only_migrate},
};

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
		return lt_exit_code(&err);
	}
	printf("schema version %d, %zu migration%s applied now\n", list[n - 1].version, applied,
		applied == 1 ? "" : "s");
	return LT_EXIT_OK;
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
		.batch = &ctx->conf->store.batch,
		.sink = &lt_sink_pg_ops,
		.backlog = true,
		.publishes = true,
		.inbox_dir = ctx->conf->store.inbox_dir,
		.inbox_max_bytes = ctx->conf->store.inbox_max_bytes,
	};
	const struct lt_keeper_options letters = {
		.bus = &ctx->conf->bus,
		.dir = ctx->conf->store.deadletter_dir,
		.max_bytes = ctx->conf->store.deadletter_max_bytes,
		.max_age_ms = ctx->conf->store.deadletter_max_age_ms,
		.loop = &ctx->loop,
	};

	if (lt_keeper_start(&keeper, &letters, err) < 0)
		return err->code;
	return lt_consumer_daemon_start(ctx, &opt, err);
}

static void fini(struct lt_ctx *ctx)
{
	lt_consumer_daemon_fini(ctx);
	lt_keeper_free(keeper);
	keeper = NULL;
}

static const struct lt_daemon store = {
	.name = "latido-store",
	.comp = "store",
	.synopsis = "Store the events of every source in PostgreSQL, each exactly once.",
	.options = options,
	.n_options = LT_ARRAY_LEN(options),
	.admin_listen = admin_listen,
	.drain_timeout_ms = drain_timeout_ms,
	.command = command,
	.start = start,
	.drain = lt_consumer_daemon_drain,
	.fini = fini,
};

int main(int argc, char **argv)
{
	return lt_daemon_main(&store, argc, argv);
}
