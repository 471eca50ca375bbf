/* SPDX-License-Identifier: MIT */
#include "sink_pg.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "pg_copy.h"

/* Attempts within one put() when another store was faster. */
#define REDO_MAX     8
#define AHEAD_NS     (3600 * LT_NS_PER_S)
#define SEEN_NS      (60 * LT_NS_PER_S)
#define RETENTION_NS (600 * LT_NS_PER_S)
#define MORE_NS      LT_NS_PER_S
#define HOURLY_NS    (3600 * LT_NS_PER_S)
#define AGAIN_NS     (60 * LT_NS_PER_S) /* a chore that failed */

struct lt_pg_stats lt_pg_stats;

#define BATCHES(label, field)                                                                     \
	{                                                                                         \
		"latido_store_batches_total", LT_STAT_COUNTER, "events=\"" label "\"",            \
			"Batches committed, by their number of events.", &lt_pg_stats.field, NULL \
	}

static const struct lt_stat stat_table[] = {
	{"latido_store_events_total", LT_STAT_COUNTER, NULL, "Events committed to PostgreSQL.",
		&lt_pg_stats.events, NULL},
	{"latido_store_values_total", LT_STAT_COUNTER, NULL, "Values of those events.",
		&lt_pg_stats.values, NULL},
	{"latido_store_duplicates_total", LT_STAT_COUNTER, NULL,
		"Events dropped because they were stored already.", &lt_pg_stats.duplicates, NULL},
	{"latido_store_stray_events_total", LT_STAT_COUNTER, NULL,
		"Events whose time is outside the window, stored in snapshot_stray.",
		&lt_pg_stats.strays, NULL},
	{"latido_store_gap_events_total", LT_STAT_COUNTER, NULL,
		"Events that can never come any more, recorded in table gap.",
		&lt_pg_stats.gap_events, NULL},
	{"latido_store_holes", LT_STAT_GAUGE, NULL,
		"Holes now open in the sequences of the sources met since the last connect.",
		&lt_pg_stats.holes, NULL},
	{"latido_store_epochs_known", LT_STAT_GAUGE, NULL,
		"Epochs of sources whose progress is kept in memory.", &lt_pg_stats.epochs_known,
		NULL},
	{"latido_store_cache_resets_total", LT_STAT_COUNTER, NULL,
		"Times that all of them were dropped because there were too many.",
		&lt_pg_stats.cache_resets, NULL},
	{"latido_store_commits_total", LT_STAT_COUNTER, NULL, "Transactions committed.",
		&lt_pg_stats.commits, NULL},
	{"latido_store_conflicts_total", LT_STAT_COUNTER, NULL,
		"Batches done again because another store was faster.", &lt_pg_stats.conflicts,
		NULL},
	{"latido_store_copy_bytes_total", LT_STAT_COUNTER, NULL, "Bytes sent by COPY.",
		&lt_pg_stats.bytes, NULL},
	BATCHES("1", batch_1),
	BATCHES("2-10", batch_10),
	BATCHES("11-100", batch_100),
	BATCHES("101-1000", batch_1000),
	BATCHES("more", batch_more),
	{"latido_store_partitions_made_total", LT_STAT_COUNTER, NULL, "Daily partitions made.",
		&lt_pg_stats.partitions_made, NULL},
	{"latido_store_partitions_dropped_total", LT_STAT_COUNTER, NULL,
		"Daily partitions dropped by retention.", &lt_pg_stats.partitions_dropped, NULL},
	{"latido_store_rollups_total", LT_STAT_COUNTER, NULL,
		"Five minutes of a source summed up for long charts.", &lt_pg_stats.rollups, NULL},
	{"latido_store_rollups_failed_total", LT_STAT_COUNTER, NULL,
		"Five minutes that could not be summed up: tried again an hour later.",
		&lt_pg_stats.rollups_failed, NULL},
	{"latido_store_rollups_waiting", LT_STAT_GAUGE, NULL,
		"Five minutes of a source whose turn has come, counted up to 10000.",
		&lt_pg_stats.rollups_waiting, NULL},
	{"latido_store_rollup_seconds", LT_STAT_HIST, NULL,
		"Time that one of them took; no rows are written meanwhile.",
		&lt_pg_stats.rollup_seconds, NULL},
	{"latido_store_commit_seconds", LT_STAT_HIST, NULL,
		"From the start of a batch's transaction to its end.", &lt_pg_stats.commit_seconds,
		NULL},
	{"latido_store_event_to_commit_seconds", LT_STAT_HIST, NULL,
		"From an event's time to the end of its transaction.",
		&lt_pg_stats.event_to_commit_seconds, NULL},
};

static void interrupt(struct lt_sink *sink)
{
	struct lt_sink_pg *s = (struct lt_sink_pg *)sink;
	uint64_t one = 1;
	ssize_t n = write(s->pg.interrupt_fd, &one, sizeof(one));

	(void)n; /* it can only fail when it is readable already */
}

static int pg_init(struct lt_sink *sink, const struct lt_config *conf, struct lt_err *err)
{
	static atomic_flag registered = ATOMIC_FLAG_INIT;
	struct lt_sink_pg *s = (struct lt_sink_pg *)sink;
	int rc;

	s->conf = conf;
	s->pg.interrupt_fd = -1;
	rc = lt_pg_check_dsn(conf->postgres.dsn, err);
	if (rc != LT_OK)
		return rc;
	s->pg.interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->pg.interrupt_fd < 0)
		return lt_fail(
			err, LT_EIO, LT_CLS_FATAL, "pg.init", "eventfd: %s", strerror(errno));
	sink->interrupt = interrupt;
	s->seed = lt_random_u64();
	if (!atomic_flag_test_and_set(&registered)) /* tests have several sinks */
		lt_stats_add(stat_table, LT_ARRAY_LEN(stat_table));
	return LT_OK;
}

static int connect_and_check(struct lt_sink_pg *s, struct lt_err *err)
{
	size_t n, applied = 0;
	const struct lt_migration *list = lt_migrations(&n);
	int rc = lt_pg_connect(&s->pg, &s->conf->postgres, err);

	if (rc == LT_OK)
		rc = lt_pg_schema_apply(&s->pg, list, n, s->conf->store.migrate, &applied, err);
	if (rc == LT_OK)
		rc = lt_pg_partitions_ahead(s, err);
	if (rc == LT_OK)
		rc = lt_pg_announce(s, err);
	return rc;
}

static int pg_open(struct lt_sink *sink, struct lt_err *err)
{
	/* Of all connections of the process: shapes outlive them and may serve several sinks. */
	static _Atomic uint64_t generations;
	struct lt_sink_pg *s = (struct lt_sink_pg *)sink;
	struct lt_err fallback = {0};
	char where[300];
	int rc;

	err = err ? err : &fallback;
	lt_pg_forget(s);
	lt_pg_partitions_forget(s);
	lt_pg_rollup_forget(s);
	lt_pg_positions_forget(s); /* it may be another server, or an older state */
	s->generation = atomic_fetch_add(&generations, 1) + 1;
	rc = connect_and_check(s, err);
	if (rc != LT_OK) {
		lt_pg_close(&s->pg);
		if (err->cls == LT_CLS_POISON) /* a migration that does not run: no event's fault */
			err->cls = s->pg.worked ? LT_CLS_RETRY : LT_CLS_CONFIG;
		return rc;
	}
	s->pg.worked = true;
	s->chores[LT_PG_AHEAD].due_ns = lt_mono_ns() + AHEAD_NS;
	lt_pg_where(&s->pg, where, sizeof(where));
	lt_log(LT_INFO, "pg_connected", LT_S("to", where));
	return LT_OK;
}

/* ---- put ---- */

static const char *source_of_gap(const struct lt_sink_pg *s)
{
	for (size_t i = 0; i < s->n_staged; i++)
		if (s->staged[i]->id == s->gaps.items[0].epoch_id)
			return s->staged[i]->source->name;
	return "";
}

static void count(struct lt_sink_pg *s, int64_t began_ns)
{
	int64_t wall_ns = lt_wall_ns();
	uint64_t events = 0, values = 0, strays = 0, missing = 0;

	lt_counter_add(&lt_pg_stats.duplicates, s->duplicates);
	if (!s->wrote)
		return;
	for (size_t i = 0; i < s->n_rows; i++) {
		const struct lt_pg_row *r = &s->rows[i];

		if (r->skip)
			continue;
		events++;
		values += r->event->n;
		strays += r->stray;
		if (!r->stray) /* the clock of a stray's source says nothing about us */
			lt_hist_add(
				&lt_pg_stats.event_to_commit_seconds, wall_ns - r->event->time_ns);
	}
	for (size_t i = 0; i < s->gaps.n; i++)
		missing +=
			(uint64_t)(s->gaps.items[i].missing.hi - s->gaps.items[i].missing.lo) + 1;
	lt_hist_add(&lt_pg_stats.commit_seconds, lt_mono_ns() - began_ns);
	lt_counter_add(&lt_pg_stats.commits, 1);
	lt_counter_add(&lt_pg_stats.events, events);
	lt_counter_add(&lt_pg_stats.values, values);
	lt_counter_add(&lt_pg_stats.strays, strays);
	lt_counter_add(&lt_pg_stats.gap_events, missing);
	lt_counter_add(&lt_pg_stats.bytes, s->copied_bytes);
	lt_counter_add(events <= 1      ? &lt_pg_stats.batch_1
		       : events <= 10   ? &lt_pg_stats.batch_10
		       : events <= 100  ? &lt_pg_stats.batch_100
		       : events <= 1000 ? &lt_pg_stats.batch_1000
					: &lt_pg_stats.batch_more,
		1);
	if (missing)
		lt_complain(&s->lost_complaint, LT_WARN, "events_lost", LT_U("events", missing),
			LT_S("source", source_of_gap(s)), LT_S("see", "table gap"));
}

static int put_once(struct lt_sink_pg *s, const struct lt_batch *b, size_t *bad, struct lt_err *err)
{
	int64_t began_ns;
	int rc = lt_pg_resolve(s, b, bad, err);

	if (rc != LT_OK)
		return rc;
	*bad = b->n;
	rc = lt_pg_positions_stage(s, b, err);
	if (rc != LT_OK)
		return rc;
	rc = lt_pg_stage(s, b, lt_wall_ns(), err);
	if (rc == LT_OK) {
		began_ns = lt_mono_ns();
		rc = lt_pg_write(s, err);
		if (rc == LT_OK)
			count(s, began_ns);
	}
	if (rc == LT_OK)
		lt_pg_acknowledge(s);
	if (rc == LT_ECONFLICT)
		lt_pg_reload(s);
	lt_pg_unstage(s, rc == LT_OK);
	lt_pg_rollup_marked(s, rc == LT_OK);
	lt_pg_positions_done(s, rc);
	return rc;
}

/* A refused batch: which event is it? Errors that no single event explains are not POISON. */
static int accuse(struct lt_sink_pg *s, const struct lt_batch *b, size_t *bad, struct lt_err *err)
{
	int rc;

	if (*bad < b->n)
		return err->code;
	rc = lt_pg_find_bad(s, bad, err);
	if (rc != LT_EAGAIN)
		return rc;
	err->cls = LT_CLS_RETRY;
	err->code = LT_EIO;
	lt_err_prefix(err, "no single event is at fault");
	return LT_EIO;
}

static int pg_put(struct lt_sink *sink, const struct lt_batch *b, size_t *bad, struct lt_err *err)
{
	struct lt_sink_pg *s = (struct lt_sink_pg *)sink;
	struct lt_err fallback = {0};
	bool partition_gone = false;
	int rc = LT_OK;

	err = err ? err : &fallback;
	for (int i = 0; i < REDO_MAX; i++) {
		rc = put_once(s, b, bad, err);
		if (rc == LT_OK)
			return LT_OK;
		lt_pg_rollback(&s->pg);
		if (!s->pg.conn)
			return rc;
		if (rc == LT_EDATA && !strcmp(s->pg.sqlstate, "23514") && !partition_gone) {
			/* "no partition found": another store dropped it meanwhile? */
			partition_gone = true;
			lt_pg_partitions_forget(s);
		} else if (rc == LT_ECONFLICT && !s->astray) {
			lt_counter_add(&lt_pg_stats.conflicts, 1);
		} else {
			break;
		}
	}
	return rc == LT_EDATA ? accuse(s, b, bad, err) : rc;
}

static int pg_find_shape(
	struct lt_sink *sink, uint64_t hash, struct lt_buf *bytes, struct lt_err *err)
{
	static const char sql[] = "SELECT bytes FROM shape WHERE hash = $1::bigint LIMIT 2";
	struct lt_sink_pg *s = (struct lt_sink_pg *)sink;
	struct pg_result *r = NULL;
	const char *p;
	size_t size;
	int rc;

	lt_buf_reset(&s->param[0]);
	lt_pg_array_i8(&s->param[0], (int64_t)hash);
	rc = lt_pg_query(
		&s->pg, sql, (struct lt_pg_param[]){{s->param[0].data + 4, 8}}, 1, &r, err);
	if (rc != LT_OK) {
		if (err)
			err->cls = LT_CLS_RETRY;
		return rc;
	}
	if (lt_pg_rows(r) == 1) {
		p = lt_pg_bytes(r, 0, 0, &size);
		lt_buf_add(bytes, p, size);
	} else {
		rc = LT_EAGAIN; /* not known, or two shapes of one hash: nobody can tell which */
	}
	lt_pg_result_free(r);
	return rc;
}

/* ---- chores ---- */

static int by_source_id(const void *a, const void *b)
{
	const struct lt_pg_source *x = *(void *const *)a, *y = *(void *const *)b;

	return (x->id > y->id) - (x->id < y->id);
}

static int write_seen(struct lt_sink_pg *s, struct lt_err *err)
{
	static const char sql[] =
		"UPDATE source o SET last_seen = greatest(o.last_seen, n.at) "
		"FROM unnest($1::int[], $2::timestamptz[]) AS n (id, at) WHERE o.id = n.id";
	struct lt_buf *ids = &s->param[0], *times = &s->param[1];
	struct lt_pg_source *src;
	struct lt_pg_source **list;
	size_t n = 0, i = 0;
	int rc;

	if (!s->sources.n)
		return LT_OK;
	list = lt_malloc(s->sources.n * sizeof(*list));
	while ((src = lt_pg_map_next(&s->sources, &i)))
		if (src->id && src->seen)
			list[n++] = src;
	if (!n) {
		free(list);
		return LT_OK;
	}
	qsort(list, n, sizeof(*list), by_source_id); /* the order of row locks */
	lt_buf_reset(ids);
	lt_buf_reset(times);
	lt_pg_array(ids, LT_PG_INT4, n);
	lt_pg_array(times, LT_PG_TIMESTAMPTZ, n);
	for (i = 0; i < n; i++) {
		lt_pg_array_i4(ids, list[i]->id);
		lt_pg_array_i8(times, lt_pg_time_us(list[i]->last_seen_ns));
	}
	rc = lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){lt_pg_param_buf(ids), lt_pg_param_buf(times)}, 2, NULL, err);
	for (i = 0; rc == LT_OK && i < n; i++)
		list[i]->seen = false;
	free(list);
	return rc;
}

static int ahead(struct lt_sink_pg *s, bool *more, struct lt_err *err)
{
	(void)more;
	return lt_pg_partitions_ahead(s, err);
}

static int seen(struct lt_sink_pg *s, bool *more, struct lt_err *err)
{
	(void)more;
	return write_seen(s, err);
}

static int rest(struct lt_sink_pg *s, bool *more, struct lt_err *err)
{
	(void)more;
	return lt_pg_expire_rest(s, err);
}

static const struct {
	const char *name;
	int (*run)(struct lt_sink_pg *s, bool *more, struct lt_err *err);
	int64_t period_ns;
} chores[LT_PG_CHORES] = {
	[LT_PG_AHEAD] = {"partitions", ahead, AHEAD_NS},
	[LT_PG_SEEN] = {"last_seen", seen, SEEN_NS},
	[LT_PG_RETENTION] = {"retention", lt_pg_retention, RETENTION_NS},
	[LT_PG_REST] = {"expiry", rest, HOURLY_NS},
	[LT_PG_ROLLUP] = {"rollup", lt_pg_rollup, 0},
};

/* A chore that fails on a working connection is complained about and tried again later. */
static int64_t pg_tick(struct lt_sink *sink, struct lt_err *err)
{
	struct lt_sink_pg *s = (struct lt_sink_pg *)sink;
	int64_t now_ns = lt_mono_ns(), next_ns = INT64_MAX;
	struct lt_err fallback = {0};

	err = err ? err : &fallback;
	if (!s->pg.conn)
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "pg.tick", "not connected");
	for (size_t i = 0; i < LT_PG_CHORES; i++) {
		struct lt_pg_chore *c = &s->chores[i];
		bool more = false;
		int rc;

		if (now_ns >= c->due_ns) {
			rc = chores[i].run(s, &more, err);
			if (!s->pg.conn)
				return rc;
			c->due_ns =
				lt_mono_ns() + (rc != LT_OK                ? AGAIN_NS
						       : more              ? MORE_NS
						       : i == LT_PG_ROLLUP ? s->rollup_again_ns
									   : chores[i].period_ns);
			if (rc != LT_OK)
				lt_complain(&c->complaint, LT_WARN, "pg_chore_failed",
					LT_S("chore", chores[i].name), LT_S("op", err->op),
					LT_S("err", err->msg));
			else
				lt_release(&c->complaint, "pg_chore_recovered",
					LT_S("chore", chores[i].name));
		}
		if (c->due_ns < next_ns)
			next_ns = c->due_ns;
	}
	now_ns = lt_mono_ns();
	return next_ns > now_ns ? next_ns - now_ns : 0;
}

static int pg_flush(struct lt_sink *sink, struct lt_err *err)
{
	struct lt_sink_pg *s = (struct lt_sink_pg *)sink;

	return s->pg.conn ? write_seen(s, err) : LT_OK;
}

static void pg_fini(struct lt_sink *sink)
{
	struct lt_sink_pg *s = (struct lt_sink_pg *)sink;

	lt_pg_close(&s->pg);
	lt_pg_forget(s);
	lt_pg_positions_fini(s);
	lt_pg_rollup_fini(s);
	free(s->bus_gaps);
	lt_pg_gaps_fini(&s->gaps);
	for (size_t i = 0; i < LT_ARRAY_LEN(s->param); i++)
		lt_buf_fini(&s->param[i]);
	for (size_t i = 0; i < LT_ARRAY_LEN(s->last); i++)
		for (size_t k = 0; k < LT_PG_CALL_PARAMS; k++)
			lt_buf_fini(&s->last[i].param[k]);
	lt_buf_fini(&s->copy);
	free(s->partitions);
	free(s->rows);
	free(s->event_epochs);
	free(s->event_sources);
	free(s->want);
	free(s->staged);
	if (s->pg.interrupt_fd >= 0)
		close(s->pg.interrupt_fd);
	s->pg.interrupt_fd = -1;
}

const struct lt_sink_ops lt_sink_pg_ops = {
	.name = "postgres",
	.size = sizeof(struct lt_sink_pg),
	.init = pg_init,
	.open = pg_open,
	.put = pg_put,
	.tick = pg_tick,
	.find_shape = pg_find_shape,
	.positions = lt_pg_positions,
	.flush = pg_flush,
	.fini = pg_fini,
};
