/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "latido/log.h"
#include "live.h"

/*
 * Every few seconds, whether PostgreSQL answers; every minute, what it knows of the sources that
 * Redis does not say: nodes or devices, and their labels.
 */

#define CHECK_NS  (5 * LT_NS_PER_S)
#define RETRY_NS  (2 * LT_NS_PER_S)
#define FACTS_OF  12 /* checks */
#define LABEL_MAX 8192

struct facts_job {
	struct job job;
	struct live *live;
	bool all;
	int rc;
	struct lt_err err;
	struct lt_buf text; /* source, 'd' or 'n', labels; each with a NUL behind it */
};

/* Members of the labels object, text values only, as JSON without the braces. */
static const char select_facts[] =
	"SELECT name, kind = 'device', coalesce((SELECT string_agg(to_json(key)::text || ':' || "
	"to_json(left(value, 256))::text, ',' ORDER BY key) "
	"FROM jsonb_each_text(labels)), '') FROM source ORDER BY id LIMIT 20000";

static void run(struct job *job, struct worker *w)
{
	struct facts_job *j = (struct facts_job *)job;
	struct pg_result *r = NULL;
	const char *s;
	size_t n;

	j->rc = worker_pg(w, &j->err);
	if (j->rc == LT_OK)
		j->rc = lt_pg_query(
			&w->pg, j->all ? select_facts : "SELECT 1", NULL, 0, &r, &j->err);
	if (j->rc != LT_OK || !j->all) {
		lt_pg_result_free(r);
		return;
	}
	for (size_t i = 0; i < lt_pg_rows(r); i++) {
		s = lt_pg_bytes(r, i, 0, &n);
		lt_buf_add(&j->text, s, n);
		lt_buf_char(&j->text, '\0');
		lt_buf_char(&j->text, lt_pg_int(r, i, 1) ? 'd' : 'n');
		s = lt_pg_bytes(r, i, 2, &n);
		if (n <= LABEL_MAX)
			lt_buf_add(&j->text, s, n);
		lt_buf_char(&j->text, '\0');
	}
	lt_pg_result_free(r);
}

static void done(struct job *job)
{
	static struct lt_complaint trouble;
	static unsigned checks;
	struct facts_job *j = (struct facts_job *)job;
	struct live *l = j->live;
	const char *p = j->text.data, *end = p + j->text.len;

	if (!job->cancelled) {
		if (j->rc == LT_OK) {
			lt_release(&trouble, "postgres_connected");
			live_pg_result(l, NULL);
		} else {
			lt_complain(&trouble, LT_WARN, "postgres_lost", LT_S("err", j->err.msg));
			hub_set_postgres(l->hub, &j->err);
		}
		while (p && p < end) {
			const char *rest = p + strlen(p) + 1;

			hub_set_facts(l->hub, p, *rest == 'd', rest + 1);
			p = rest + strlen(rest) + 1;
		}
		checks = j->rc == LT_OK ? checks + 1 : 0;
		l->ask_all_facts = checks % FACTS_OF == 0; /* whether the next one asks for all */
		lt_timer_start_ns(&l->facts, j->rc == LT_OK ? CHECK_NS : RETRY_NS);
	}
	lt_buf_fini(&j->text);
	free(j);
}

static void ask(void *arg)
{
	struct live *l = arg;
	struct facts_job *j = lt_calloc(1, sizeof(*j));

	j->live = l;
	j->all = l->ask_all_facts;
	j->job.run = run;
	j->job.done = done;
	if (workers_submit(l->queries, &j->job))
		return;
	free(j);
	lt_timer_start_ns(&l->facts, RETRY_NS);
}

void facts_start(struct live *l)
{
	l->ask_all_facts = true;
	lt_timer_init(&l->facts, &l->ctx->loop, ask, l);
	lt_timer_start_ns(&l->facts, 0);
}
