/* SPDX-License-Identifier: MIT */
#include "selectors.h"

#include <stdlib.h>
#include <string.h>

struct watch {
	struct lt_promql_threshold threshold;
	int64_t *crossed_ms;
};

/* One set of matchers. */
struct entry {
	const struct lt_promql_selector *sel;
	struct lt_keep keep;
	struct lt_promql_series *items;
	size_t n, cap;
	struct watch *watches;
	uint32_t n_watches;
	uint32_t next; /* 1 + the next one with this name; 0: none */
	bool dirty;
};

/* From a selector's address to its entry. */
struct alias {
	const struct lt_promql_selector *sel;
	uint32_t entry;
};

/* From a metric name to the entries that demand it. */
struct by_name {
	uint32_t name;  /* LT_SYM_NONE: free */
	uint32_t first; /* 1 + entry */
};

struct lt_selectors {
	struct lt_label_pool *pool;
	struct entry *entries;
	size_t n, cap;
	struct alias *aliases;
	size_t n_aliases, cap_aliases; /* a power of two */
	struct by_name *names;
	size_t n_names, cap_names; /* a power of two */
	uint32_t nameless;         /* 1 + the first entry that demands no name */
	uint32_t instance, job;    /* symbols */
	size_t list_bytes;
	bool gave_up; /* a pattern met its limit: */
	struct lt_err why;
};

struct lt_selectors *lt_selectors_new(struct lt_label_pool *pool)
{
	struct lt_selectors *t = lt_calloc(1, sizeof(*t));

	t->pool = pool;
	t->instance = lt_sym_get(pool, "instance", strlen("instance"));
	t->job = lt_sym_get(pool, "job", strlen("job"));
	t->cap_aliases = t->cap_names = 64;
	t->aliases = lt_calloc(t->cap_aliases, sizeof(*t->aliases));
	t->names = lt_calloc(t->cap_names, sizeof(*t->names));
	return t;
}

void lt_selectors_free(struct lt_selectors *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++) {
		free(t->entries[i].items);
		free(t->entries[i].watches);
	}
	lt_sym_put(t->pool, t->instance);
	lt_sym_put(t->pool, t->job);
	free(t->entries);
	free(t->aliases);
	free(t->names);
	free(t);
}

size_t lt_selectors_n(const struct lt_selectors *t)
{
	return t->n;
}

int64_t lt_selectors_longest_ms(const struct lt_selectors *t)
{
	int64_t most_ms = 0;

	for (size_t i = 0; i < t->n; i++)
		if (t->entries[i].keep.back_ms > most_ms)
			most_ms = t->entries[i].keep.back_ms;
	return most_ms;
}

size_t lt_selectors_bytes(const struct lt_selectors *t)
{
	return t->list_bytes + t->cap * sizeof(*t->entries) + t->cap_aliases * sizeof(*t->aliases) +
	       t->cap_names * sizeof(*t->names);
}

/* ---- the tables ---- */

static size_t mix(uint64_t x)
{
	x *= UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(x >> 32);
}

static struct alias *alias_of(const struct lt_selectors *t, const struct lt_promql_selector *sel)
{
	size_t i = mix((uintptr_t)sel) & (t->cap_aliases - 1);

	while (t->aliases[i].sel && t->aliases[i].sel != sel)
		i = (i + 1) & (t->cap_aliases - 1);
	return &t->aliases[i];
}

static void add_alias(struct lt_selectors *t, const struct lt_promql_selector *sel, uint32_t entry)
{
	if (t->n_aliases * 2 >= t->cap_aliases) {
		struct alias *old = t->aliases;
		size_t cap = t->cap_aliases;

		t->cap_aliases *= 2;
		t->aliases = lt_calloc(t->cap_aliases, sizeof(*t->aliases));
		for (size_t i = 0; i < cap; i++)
			if (old[i].sel)
				*alias_of(t, old[i].sel) = old[i];
		free(old);
	}
	*alias_of(t, sel) = (struct alias){sel, entry};
	t->n_aliases++;
}

static struct by_name *name_of(const struct lt_selectors *t, uint32_t name)
{
	size_t i = mix(name) & (t->cap_names - 1);

	while (t->names[i].name != LT_SYM_NONE && t->names[i].name != name)
		i = (i + 1) & (t->cap_names - 1);
	return &t->names[i];
}

static uint32_t *list_of(struct lt_selectors *t, uint32_t name)
{
	struct by_name *b;

	if (name == LT_SYM_NONE)
		return &t->nameless;
	if (t->n_names * 2 >= t->cap_names) {
		struct by_name *old = t->names;
		size_t cap = t->cap_names;

		t->cap_names *= 2;
		t->names = lt_calloc(t->cap_names, sizeof(*t->names));
		for (size_t i = 0; i < cap; i++)
			if (old[i].name != LT_SYM_NONE)
				*name_of(t, old[i].name) = old[i];
		free(old);
	}
	b = name_of(t, name);
	if (b->name == LT_SYM_NONE) {
		b->name = name;
		t->n_names++;
	}
	return &b->first;
}

static int64_t longer(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void lt_selectors_add(
	struct lt_selectors *t, const struct lt_promql_selector *sel, const struct lt_keep *keep)
{
	uint32_t *first = list_of(t, sel->name);
	struct entry *e;

	if (alias_of(t, sel)->sel)
		return;
	for (uint32_t i = *first; i; i = t->entries[i - 1].next) {
		e = &t->entries[i - 1];
		if (!lt_promql_selector_same(e->sel, sel))
			continue;
		e->keep.back_ms = longer(e->keep.back_ms, keep->back_ms);
		e->keep.dense_ms = longer(e->keep.dense_ms, keep->dense_ms);
		add_alias(t, sel, i - 1);
		return;
	}
	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 16;
		t->entries = lt_realloc(t->entries, t->cap * sizeof(*t->entries));
	}
	t->entries[t->n] = (struct entry){.sel = sel, .keep = *keep, .next = *first};
	*first = (uint32_t)++t->n;
	add_alias(t, sel, (uint32_t)t->n - 1);
}

bool lt_selectors_find(const struct lt_selectors *t, const struct lt_promql_selector *sel,
	const struct lt_promql_series **out, size_t *n)
{
	const struct alias *a = alias_of(t, sel);

	if (!a->sel)
		return false;
	*out = t->entries[a->entry].items;
	*n = t->entries[a->entry].n;
	return true;
}

/* ---- matching ---- */

/* Without what is decided source by source. */
static bool may_match(const struct lt_selectors *t, const struct lt_promql_selector *sel,
	const struct lt_label_text *labels, size_t n, const char *name, size_t name_len)
{
	for (uint32_t m = 0; m < sel->n_matchers; m++) {
		const struct lt_matcher *want = &sel->matchers[m];
		const char *value = "", *key;
		size_t len = 0, key_len;

		if (want->name == t->instance || want->name == t->job)
			continue;
		key = lt_sym_text(t->pool, want->name, &key_len);
		if (want->name == LT_SYM_NAME) {
			value = name;
			len = name_len;
		}
		for (size_t i = 0; i < n; i++) {
			if (labels[i].name_len != key_len ||
				memcmp(labels[i].name, key, key_len) != 0)
				continue;
			value = labels[i].value;
			len = labels[i].value_len;
		}
		if (lt_matcher_match(want, value, len, NULL) == 0)
			return false;
	}
	return true;
}

bool lt_selectors_may_want(const struct lt_selectors *t, const char *name, size_t name_len,
	const struct lt_label_text *labels, size_t n)
{
	uint32_t sym = lt_sym_get(t->pool, name, name_len);
	bool found = false;

	for (uint32_t i = name_of(t, sym)->first; i && !found; i = t->entries[i - 1].next)
		found = may_match(t, t->entries[i - 1].sel, labels, n, name, name_len);
	for (uint32_t i = t->nameless; i && !found; i = t->entries[i - 1].next)
		found = may_match(t, t->entries[i - 1].sel, labels, n, name, name_len);
	lt_sym_put(t->pool, sym);
	return found;
}

int64_t lt_selectors_may_back_ms(const struct lt_selectors *t, const char *name, size_t name_len,
	const struct lt_label_text *labels, size_t n)
{
	uint32_t sym = lt_sym_get(t->pool, name, name_len);
	const uint32_t lists[] = {name_of(t, sym)->first, t->nameless};
	int64_t back_ms = -1;

	for (size_t k = 0; k < LT_ARRAY_LEN(lists); k++)
		for (uint32_t i = lists[k]; i; i = t->entries[i - 1].next) {
			const struct entry *e = &t->entries[i - 1];

			if (e->keep.back_ms > back_ms &&
				may_match(t, e->sel, labels, n, name, name_len))
				back_ms = e->keep.back_ms;
		}
	lt_sym_put(t->pool, sym);
	return back_ms;
}

static bool join_list(struct lt_selectors *t, uint32_t first, const struct lt_labels *labels,
	const void *series, struct lt_keep *keep)
{
	bool any = false;

	for (uint32_t i = first; i; i = t->entries[i - 1].next) {
		struct entry *e = &t->entries[i - 1];

		int rc = lt_promql_selector_match(t->pool, e->sel, labels, &t->why);

		t->gave_up |= rc < 0;
		if (rc != 1)
			continue;
		any = true;
		keep->watched |= e->n_watches > 0;
		keep->back_ms = longer(keep->back_ms, e->keep.back_ms);
		keep->dense_ms = longer(keep->dense_ms, e->keep.dense_ms);
		if (!series)
			continue;
		if (e->n == e->cap) {
			size_t cap = e->cap ? e->cap + e->cap / 2 : 4;

			e->items = lt_realloc(e->items, cap * sizeof(*e->items));
			t->list_bytes += (cap - e->cap) * sizeof(*e->items);
			e->cap = cap;
		}
		e->items[e->n++] = (struct lt_promql_series){labels, series};
	}
	return any;
}

bool lt_selectors_join(struct lt_selectors *t, const struct lt_labels *labels, const void *series,
	struct lt_keep *keep)
{
	uint32_t name = lt_labels_value_sym(labels, LT_SYM_NAME);
	bool any = false;

	*keep = (struct lt_keep){0};
	if (name != LT_SYM_NONE)
		any = join_list(t, name_of(t, name)->first, labels, series, keep);
	if (t->nameless)
		any |= join_list(t, t->nameless, labels, series, keep);
	return any;
}

/* ---- thresholds ---- */

void lt_selectors_watch(
	struct lt_selectors *s, const struct lt_promql_threshold *t, int64_t *crossed_ms)
{
	const struct alias *a = alias_of(s, t->sel);
	struct entry *e;

	if (!a->sel)
		return;
	e = &s->entries[a->entry];
	e->watches = lt_realloc(e->watches, (e->n_watches + 1) * sizeof(*e->watches));
	e->watches[e->n_watches++] = (struct watch){*t, crossed_ms};
}

static void look_at(
	const struct lt_selectors *s, uint32_t first, double before, int64_t t_ms, double v)
{
	for (uint32_t i = first; i; i = s->entries[i - 1].next) {
		const struct entry *e = &s->entries[i - 1];

		for (uint32_t k = 0; k < e->n_watches; k++) {
			const struct watch *w = &e->watches[k];

			if (lt_promql_beyond(&w->threshold, v) &&
				!lt_promql_beyond(&w->threshold, before) && t_ms > *w->crossed_ms)
				*w->crossed_ms = t_ms;
		}
	}
}

void lt_selectors_sample(const struct lt_selectors *s, const struct lt_labels *labels,
	double before, int64_t t_ms, double v)
{
	uint32_t name = lt_labels_value_sym(labels, LT_SYM_NAME);

	if (name != LT_SYM_NONE)
		look_at(s, name_of(s, name)->first, before, t_ms, v);
	look_at(s, s->nameless, before, t_ms, v);
}

/* ---- on the way out ---- */

bool lt_selectors_gave_up(struct lt_selectors *t, struct lt_err *err)
{
	bool gave_up = t->gave_up;

	if (gave_up)
		*err = t->why;
	t->gave_up = false;
	return gave_up;
}

void lt_selectors_leave(struct lt_selectors *t, const struct lt_labels *labels)
{
	uint32_t name = lt_labels_value_sym(labels, LT_SYM_NAME);

	if (name != LT_SYM_NONE)
		for (uint32_t i = name_of(t, name)->first; i; i = t->entries[i - 1].next)
			t->entries[i - 1].dirty = true;
	for (uint32_t i = t->nameless; i; i = t->entries[i - 1].next)
		t->entries[i - 1].dirty = true;
}

void lt_selectors_tidy(struct lt_selectors *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct entry *e = &t->entries[i];
		size_t kept = 0;

		if (!e->dirty)
			continue;
		e->dirty = false;
		for (size_t k = 0; k < e->n; k++)
			if (!((const struct lt_as_series *)e->items[k].series)->gone)
				e->items[kept++] = e->items[k];
		e->n = kept;
	}
}
