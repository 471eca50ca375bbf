/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "latido/clock.h"
#include "pg_copy.h"
#include "sink_pg.h"

/*
 * Names to ids. What a batch names and this process has not met in this connection is looked up or
 * inserted in a transaction of its own before the batch's: ids in the caches are always committed
 * ones. A new connection begins with empty caches, since it may lead to another database.
 */

/* A source and epoch cost about 200 bytes here. */
#define EPOCHS_MAX     200000
/* Shapes in use are marked in the table at least so often; latido_drop_shapes() counts in days. */
#define SHAPE_RENEW_NS (6 * 3600 * LT_NS_PER_S)
#define SHAPES_BYTES   (8 << 20) /* of one call */
#define SERIES_AT_ONCE 10000

static void want(struct lt_sink_pg *s, void *p)
{
	if (s->n_want == s->want_cap) {
		s->want_cap = s->want_cap ? 2 * s->want_cap : 256;
		s->want = lt_realloc(s->want, s->want_cap * sizeof(*s->want));
	}
	s->want[s->n_want++] = p;
}

static void free_epoch(struct lt_pg_epoch *ep)
{
	lt_pg_have_fini(&ep->have);
	lt_pg_have_fini(&ep->next);
	free(ep);
}

void lt_pg_forget(struct lt_sink_pg *s)
{
	struct lt_pg_epoch *ep;
	struct lt_pg_source *src;
	size_t i = 0;

	while ((ep = lt_pg_map_next(&s->epochs, &i)))
		free_epoch(ep);
	lt_pg_map_fini(&s->epochs);
	i = 0;
	while ((src = lt_pg_map_next(&s->sources, &i))) {
		free(src->name);
		free(src);
	}
	lt_pg_map_fini(&s->sources);
	s->n_staged = 0;
	s->n_rows = 0;
	s->holes = 0;
	lt_gauge_set(&lt_pg_stats.holes, 0);
}

/* ---- sources ---- */

static bool source_eq(const void *item, const void *key)
{
	return !strcmp(((const struct lt_pg_source *)item)->name, key);
}

static struct lt_pg_source *source_of(struct lt_sink_pg *s, const struct lt_event *e)
{
	uint64_t hash = XXH3_64bits_withSeed(e->source, strlen(e->source), s->seed);
	struct lt_pg_source *src = lt_pg_map_find(&s->sources, hash, source_eq, e->source);

	if (!src) {
		src = lt_calloc(1, sizeof(*src));
		src->name = lt_strdup(e->source);
		src->device = e->device;
		lt_pg_map_add(&s->sources, hash, src);
	}
	return src;
}

static int intern_sources(
	struct lt_sink_pg *s, struct lt_pg_source **list, size_t n, struct lt_err *err)
{
	static const char sql[] = "SELECT ord, source_id "
				  "FROM latido_intern_sources($1::text[], $2::text[])";
	struct lt_buf *names = &s->param[0], *kinds = &s->param[1];
	struct pg_result *r = NULL;
	int rc;

	lt_buf_reset(names);
	lt_buf_reset(kinds);
	lt_pg_array(names, LT_PG_TEXT, n);
	lt_pg_array(kinds, LT_PG_TEXT, n);
	for (size_t i = 0; i < n; i++) {
		const char *kind = list[i]->device ? "device" : "node";

		lt_pg_array_bytes(names, list[i]->name, strlen(list[i]->name));
		lt_pg_array_bytes(kinds, kind, strlen(kind));
	}
	rc = lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){lt_pg_param_buf(names), lt_pg_param_buf(kinds)}, 2, &r, err);
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++)
		list[lt_pg_int(r, i, 0) - 1]->id = (int32_t)lt_pg_int(r, i, 1);
	lt_pg_result_free(r);
	return rc;
}

static int resolve_sources(
	struct lt_sink_pg *s, const struct lt_batch *b, size_t *bad, struct lt_err *err)
{
	struct lt_pg_source **list;
	int rc;

	if (s->event_epochs_cap < b->n) {
		s->event_epochs_cap = b->n;
		s->event_epochs = lt_realloc(s->event_epochs, b->n * sizeof(*s->event_epochs));
		s->event_sources = lt_realloc(s->event_sources, b->n * sizeof(*s->event_sources));
	}
	s->n_want = 0;
	for (size_t i = 0; i < b->n; i++) {
		struct lt_pg_source *src = source_of(s, b->events[i]);

		s->event_sources[i] = src;
		if (b->events[i]->arrived_ns > src->last_seen_ns) {
			src->last_seen_ns = b->events[i]->arrived_ns;
			src->seen = true;
		}
		if (!src->id && !src->asked) {
			src->asked = true;
			want(s, src);
		}
	}
	list = (struct lt_pg_source **)s->want;
	for (size_t i = 0; i < s->n_want; i++)
		list[i]->asked = false;
	if (!s->n_want)
		return LT_OK;
	rc = intern_sources(s, list, s->n_want, err);
	if (rc != LT_EDATA)
		return rc;
	/* One of them is refused (a constraint that somebody added): which? */
	for (size_t i = 0; i < s->n_want; i++) {
		rc = intern_sources(s, &list[i], 1, err);
		if (rc != LT_EDATA && rc != LT_OK)
			return rc;
		for (*bad = 0; rc == LT_EDATA && *bad < b->n; ++*bad)
			if (!strcmp(b->events[*bad]->source, list[i]->name))
				return rc;
	}
	return LT_OK;
}

/* ---- epochs ---- */

struct epoch_key {
	const struct lt_pg_source *source;
	int64_t epoch;
};

static bool epoch_eq(const void *item, const void *key)
{
	const struct lt_pg_epoch *ep = item;
	const struct epoch_key *k = key;

	return ep->source == k->source && ep->epoch == k->epoch;
}

/* A source stays with its epoch for long: with 10 000 of them every table saved is a cache miss. */
static struct lt_pg_epoch *epoch_of(struct lt_sink_pg *s, struct lt_pg_source *src, int64_t epoch)
{
	struct epoch_key key = {src, epoch};
	struct lt_pg_epoch *ep = src->last;
	uint64_t hash;

	if (ep && ep->epoch == epoch)
		return ep;
	hash = XXH3_64bits_withSeed(&key, sizeof(key), s->seed);
	ep = lt_pg_map_find(&s->epochs, hash, epoch_eq, &key);
	if (!ep) {
		ep = lt_calloc(1, sizeof(*ep));
		ep->source = src;
		ep->epoch = epoch;
		lt_pg_map_add(&s->epochs, hash, ep);
	}
	src->last = ep;
	return ep;
}

static int intern_epochs(struct lt_sink_pg *s, struct lt_err *err)
{
	static const char sql[] = "SELECT ord, epoch_id "
				  "FROM latido_intern_epochs($1::int[], $2::bigint[])";
	struct lt_buf *sources = &s->param[0], *epochs = &s->param[1];
	struct lt_pg_epoch **list = (struct lt_pg_epoch **)s->want;
	struct pg_result *r = NULL;
	int rc;

	lt_buf_reset(sources);
	lt_buf_reset(epochs);
	lt_pg_array(sources, LT_PG_INT4, s->n_want);
	lt_pg_array(epochs, LT_PG_INT8, s->n_want);
	for (size_t i = 0; i < s->n_want; i++) {
		lt_pg_array_i4(sources, list[i]->source->id);
		lt_pg_array_i8(epochs, list[i]->epoch);
	}
	rc = lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){lt_pg_param_buf(sources), lt_pg_param_buf(epochs)}, 2, &r,
		err);
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++)
		list[lt_pg_int(r, i, 0) - 1]->id = (int32_t)lt_pg_int(r, i, 1);
	lt_pg_result_free(r);
	return rc;
}

static int resolve_epochs(struct lt_sink_pg *s, const struct lt_batch *b, struct lt_err *err)
{
	s->n_want = 0;
	for (size_t i = 0; i < b->n; i++) {
		struct lt_pg_epoch *ep =
			epoch_of(s, s->event_sources[i], (int64_t)b->events[i]->epoch);

		s->event_epochs[i] = ep;
		if (!ep->id && !ep->asked) {
			ep->asked = true;
			want(s, ep);
		}
	}
	for (size_t i = 0; i < s->n_want; i++)
		((struct lt_pg_epoch *)s->want[i])->asked = false;
	return s->n_want ? intern_epochs(s, err) : LT_OK;
}

/* ---- progress ---- */

static int by_epoch_id(const void *a, const void *b)
{
	const struct lt_pg_epoch *x = *(void *const *)a, *y = *(void *const *)b;

	return (x->id > y->id) - (x->id < y->id);
}

static int load_progress(struct lt_sink_pg *s, const struct lt_batch *b, struct lt_err *err)
{
	static const char sql[] =
		"SELECT p.epoch_id, p.upto, lower(r), upper(r) FROM progress p "
		"LEFT JOIN LATERAL unnest(p.above) r ON true "
		"WHERE p.epoch_id = ANY ($1::int[]) ORDER BY p.epoch_id, lower(r)";
	struct lt_buf *ids = &s->param[0];
	struct pg_result *r = NULL;
	size_t row = 0;
	int rc;

	s->n_want = 0;
	for (size_t i = 0; i < b->n; i++) {
		struct lt_pg_epoch *ep = s->event_epochs[i];

		if (ep->epoch && !ep->loaded && !ep->asked) {
			ep->asked = true;
			want(s, ep);
		}
	}
	if (!s->n_want)
		return LT_OK;
	qsort(s->want, s->n_want, sizeof(*s->want), by_epoch_id);
	lt_buf_reset(ids);
	lt_pg_array(ids, LT_PG_INT4, s->n_want);
	for (size_t i = 0; i < s->n_want; i++) {
		struct lt_pg_epoch *ep = s->want[i];

		ep->asked = false;
		lt_pg_array_i4(ids, ep->id);
	}
	rc = lt_pg_query(&s->pg, sql, (struct lt_pg_param[]){lt_pg_param_buf(ids)}, 1, &r, err);
	for (size_t i = 0; rc == LT_OK && i < s->n_want; i++) {
		struct lt_pg_epoch *ep = s->want[i];

		if (row == lt_pg_rows(r) || lt_pg_int(r, row, 0) != ep->id) {
			rc = lt_fail(err, LT_EIO, LT_CLS_RETRY, "pg.progress",
				"table progress has lost the row of epoch_id %d (source %s): "
				"restore it, or insert (%d) to store everything of it again",
				ep->id, ep->source->name, ep->id);
			break;
		}
		ep->have.n = 0;
		ep->have.upto = lt_pg_int(r, row, 1);
		for (; row < lt_pg_rows(r) && lt_pg_int(r, row, 0) == ep->id; row++)
			if (!lt_pg_null(r, row, 2))
				lt_pg_have_append(
					&ep->have, (struct lt_pg_range){lt_pg_int(r, row, 2),
							   lt_pg_int(r, row, 3) - 1});
		ep->loaded = true;
		s->holes += ep->have.n;
	}
	lt_pg_result_free(r);
	return rc;
}

void lt_pg_reload(struct lt_sink_pg *s)
{
	for (size_t i = 0; i < s->n_staged; i++) {
		if (s->staged[i]->loaded)
			s->holes -= s->staged[i]->have.n;
		s->staged[i]->loaded = false;
	}
}

/* ---- shapes ---- */

int32_t lt_pg_shape_id(const struct lt_shape *sh)
{
	return ((const struct lt_pg_shape_ids *)sh->user)->id;
}

static struct lt_pg_shape_ids *shape_ids(struct lt_shape *sh)
{
	if (!sh->user) {
		sh->user = lt_calloc(1, sizeof(struct lt_pg_shape_ids));
		sh->user_free = free;
	}
	return sh->user;
}

static void shape_is(struct lt_sink_pg *s, struct lt_shape *sh, int32_t id, int64_t now_ns)
{
	struct lt_pg_shape_ids *ids = sh->user;

	ids->generation = s->generation;
	ids->mono_ns = now_ns;
	ids->id = id;
}

/* Ids of those that the table has. The others keep an old generation. */
static int known_shapes(
	struct lt_sink_pg *s, struct lt_shape **list, size_t n, int64_t now_ns, struct lt_err *err)
{
	static const char sql[] = "SELECT ord, shape_id FROM latido_known_shapes($1::bytea[])";
	struct lt_buf *bytes = &s->param[0];
	struct pg_result *r = NULL;
	int rc;

	lt_buf_reset(bytes);
	lt_pg_array(bytes, LT_PG_BYTEA, n);
	for (size_t i = 0; i < n; i++)
		lt_pg_array_bytes(bytes, list[i]->bytes, list[i]->size);
	rc = lt_pg_query(&s->pg, sql, (struct lt_pg_param[]){lt_pg_param_buf(bytes)}, 1, &r, err);
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++)
		shape_is(s, list[lt_pg_int(r, i, 0) - 1], (int32_t)lt_pg_int(r, i, 1), now_ns);
	lt_pg_result_free(r);
	return rc;
}

static void labels_json(const struct lt_series *e, struct lt_buf *out)
{
	lt_buf_char(out, '{');
	for (size_t i = 0; i < e->n_labels; i++) {
		if (i)
			lt_buf_char(out, ',');
		lt_buf_json_str(out, e->labels[i].name, e->labels[i].name_len);
		lt_buf_char(out, ':');
		lt_buf_json_str(out, e->labels[i].value, e->labels[i].value_len);
	}
	lt_buf_char(out, '}');
}

/* Names, labels and kinds of the series [from, to) into param[1] to param[3]. */
static void put_series(struct lt_sink_pg *s, const struct lt_shape *sh, uint32_t from, uint32_t to)
{
	struct lt_buf *names = &s->param[1], *labels = &s->param[2], *kinds = &s->param[3],
		      *json = &s->param[4];

	for (size_t i = 1; i < 4; i++)
		lt_buf_reset(&s->param[i]);
	lt_pg_array(names, LT_PG_TEXT, to - from);
	lt_pg_array(labels, LT_PG_TEXT, to - from);
	lt_pg_array(kinds, LT_PG_INT4, to - from);
	for (uint32_t i = from; i < to; i++) {
		const struct lt_series *e = &sh->series[i];

		lt_pg_array_bytes(names, e->name, e->name_len);
		lt_buf_reset(json);
		labels_json(e, json);
		lt_pg_array_bytes(labels, json->data, json->len);
		lt_pg_array_i4(kinds, e->kind);
	}
}

/* Series of a piece of a large shape, committed at once: what one try has done the next one finds. */
static int intern_series(struct lt_sink_pg *s, const struct lt_shape *sh, uint32_t from,
	uint32_t to, int32_t *ids, struct lt_err *err)
{
	static const char sql[] = "SELECT ord, series_id "
				  "FROM latido_intern_series($1::text[], $2::text[], $3::int[])";
	struct pg_result *r = NULL;
	int rc;

	put_series(s, sh, from, to);
	rc = lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){lt_pg_param_buf(&s->param[1]), lt_pg_param_buf(&s->param[2]),
			lt_pg_param_buf(&s->param[3])},
		3, &r, err);
	if (rc == LT_OK && lt_pg_rows(r) != to - from)
		rc = lt_fail(err, LT_EIO, LT_CLS_RETRY, "pg.series", "%zu of %u series have an id",
			lt_pg_rows(r), to - from);
	for (size_t i = 0; rc == LT_OK && i < lt_pg_rows(r); i++)
		ids[lt_pg_int(r, i, 0) - 1] = (int32_t)lt_pg_int(r, i, 1);
	lt_pg_result_free(r);
	return rc;
}

/* Where the shape has its series from position @from on; positions count from 1. */
static int add_positions(struct lt_sink_pg *s, int32_t shape_id, uint32_t from, const int32_t *ids,
	uint32_t n, struct lt_err *err)
{
	static const char sql[] = "INSERT INTO shape_series (shape_id, pos, series_id) "
				  "SELECT $1::bigint, $2::bigint + u.ord, u.id "
				  "FROM unnest($3::int[]) WITH ORDINALITY AS u (id, ord)";
	struct lt_buf *p = s->param;

	for (size_t i = 0; i < 3; i++)
		lt_buf_reset(&p[i]);
	lt_pg_array_i8(&p[0], shape_id);
	lt_pg_array_i8(&p[1], from);
	lt_pg_array(&p[2], LT_PG_INT4, n);
	for (uint32_t i = 0; i < n; i++)
		lt_pg_array_i4(&p[2], ids[i]);
	/* A scalar's binary format is that of an array's element without its length. */
	return lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){
			{p[0].data + 4, 8}, {p[1].data + 4, 8}, lt_pg_param_buf(&p[2])},
		3, NULL, err);
}

/* The shape and its positions, in one transaction. @id: 0 = somebody else was faster. */
static int add_shape(struct lt_sink_pg *s, const struct lt_shape *sh, const int32_t *ids,
	int32_t *id, struct lt_err *err)
{
	static const char sql[] = "SELECT latido_new_shape($1::bytea, $2::bigint, $3::bigint)";
	struct lt_buf *hash = &s->param[0], *n = &s->param[1];
	struct pg_result *r = NULL;
	int rc = lt_pg_exec(&s->pg, "BEGIN", err);

	*id = 0;
	if (rc != LT_OK)
		return rc;
	lt_buf_reset(hash);
	lt_buf_reset(n);
	lt_pg_array_i8(hash, (int64_t)sh->hash);
	lt_pg_array_i8(n, sh->n_series);
	rc = lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){
			{sh->bytes, sh->size}, {hash->data + 4, 8}, {n->data + 4, 8}},
		3, &r, err);
	if (rc == LT_OK && lt_pg_rows(r) == 1 && !lt_pg_null(r, 0, 0))
		*id = (int32_t)lt_pg_int(r, 0, 0);
	lt_pg_result_free(r);
	for (uint32_t from = 0; rc == LT_OK && *id && from < sh->n_series; from += SERIES_AT_ONCE) {
		uint32_t left = sh->n_series - from;

		rc = add_positions(s, *id, from, ids + from,
			left < SERIES_AT_ONCE ? left : SERIES_AT_ONCE, err);
	}
	if (rc == LT_OK)
		rc = lt_pg_exec(&s->pg, "COMMIT", err);
	if (rc != LT_OK)
		lt_pg_rollback(&s->pg);
	return rc;
}

/* Some series at a time: no statement takes so long that the time limit ends it, again and again. */
static int intern_large(
	struct lt_sink_pg *s, struct lt_shape *sh, int64_t now_ns, struct lt_err *err)
{
	int32_t *ids = lt_malloc(sh->n_series * sizeof(*ids)), id = 0;
	int rc = LT_OK;

	for (uint32_t from = 0; rc == LT_OK && from < sh->n_series; from += SERIES_AT_ONCE) {
		uint32_t left = sh->n_series - from;

		rc = intern_series(s, sh, from,
			from + (left < SERIES_AT_ONCE ? left : SERIES_AT_ONCE), ids + from, err);
	}
	if (rc == LT_OK)
		rc = add_shape(s, sh, ids, &id, err);
	free(ids);
	if (rc != LT_OK)
		return rc;
	if (id)
		shape_is(s, sh, id, now_ns);
	else
		rc = known_shapes(s, &sh, 1, now_ns, err);
	if (rc == LT_OK && ((struct lt_pg_shape_ids *)sh->user)->generation != s->generation)
		rc = lt_fail(err, LT_EIO, LT_CLS_RETRY, "pg.shape",
			"a shape was dropped while it was looked up");
	return rc;
}

static int intern_shape(
	struct lt_sink_pg *s, struct lt_shape *sh, int64_t now_ns, struct lt_err *err)
{
	static const char sql[] = "SELECT latido_intern_shape($1::bytea, $2::bigint, $3::text[], "
				  "$4::text[], $5::int[])";
	struct lt_buf *hash = &s->param[0];
	struct pg_result *r = NULL;
	int rc;

	if (sh->n_series > SERIES_AT_ONCE)
		return intern_large(s, sh, now_ns, err);
	lt_buf_reset(hash);
	/* A scalar's binary format is that of an array's element without its length. */
	lt_pg_array_i8(hash, (int64_t)sh->hash);
	put_series(s, sh, 0, sh->n_series);
	rc = lt_pg_query(&s->pg, sql,
		(struct lt_pg_param[]){{sh->bytes, sh->size}, {hash->data + 4, 8},
			lt_pg_param_buf(&s->param[1]), lt_pg_param_buf(&s->param[2]),
			lt_pg_param_buf(&s->param[3])},
		5, &r, err);
	if (rc == LT_OK && (lt_pg_rows(r) != 1 || lt_pg_null(r, 0, 0)))
		rc = lt_fail(err, LT_EIO, LT_CLS_RETRY, "pg.shape",
			"a shape was dropped while it was looked up");
	if (rc == LT_OK)
		shape_is(s, sh, (int32_t)lt_pg_int(r, 0, 0), now_ns);
	lt_pg_result_free(r);
	return rc;
}

static int resolve_shapes(
	struct lt_sink_pg *s, const struct lt_batch *b, size_t *bad, struct lt_err *err)
{
	int64_t now_ns = lt_mono_ns();
	struct lt_shape **list;
	int rc = LT_OK;

	s->n_want = 0;
	for (size_t i = 0; i < b->n; i++) {
		struct lt_pg_shape_ids *ids = shape_ids(b->events[i]->shape);

		if (ids->generation == s->generation && now_ns - ids->mono_ns < SHAPE_RENEW_NS)
			continue;
		if (ids->asked == s->serial)
			continue;
		ids->asked = s->serial;
		ids->generation = 0;
		want(s, b->events[i]->shape);
	}
	list = (struct lt_shape **)s->want;
	for (size_t i = 0, n; rc == LT_OK && i < s->n_want; i += n) {
		size_t bytes = 0;

		for (n = 0; i + n < s->n_want && (!n || bytes + list[i + n]->size < SHAPES_BYTES);
			n++)
			bytes += list[i + n]->size;
		rc = known_shapes(s, list + i, n, now_ns, err);
	}
	for (size_t i = 0; rc == LT_OK && i < s->n_want; i++) {
		if (((struct lt_pg_shape_ids *)list[i]->user)->generation == s->generation)
			continue;
		rc = intern_shape(s, list[i], now_ns, err);
		for (*bad = 0; rc == LT_EDATA && *bad < b->n; ++*bad)
			if (b->events[*bad]->shape == list[i])
				return rc;
	}
	return rc;
}

int lt_pg_resolve(struct lt_sink_pg *s, const struct lt_batch *b, size_t *bad, struct lt_err *err)
{
	int rc;

	if (s->epochs.n > EPOCHS_MAX) {
		lt_counter_add(&lt_pg_stats.cache_resets, 1);
		lt_pg_forget(s);
	}
	s->serial++;
	s->n_rows = 0;
	*bad = b->n;
	rc = resolve_sources(s, b, bad, err);
	if (rc == LT_OK)
		rc = resolve_epochs(s, b, err);
	if (rc == LT_OK)
		rc = load_progress(s, b, err);
	if (rc == LT_OK)
		rc = resolve_shapes(s, b, bad, err);
	lt_gauge_set(&lt_pg_stats.epochs_known, (int64_t)s->epochs.n);
	return rc;
}
