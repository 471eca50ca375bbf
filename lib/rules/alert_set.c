/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "rules_int.h"

/* Label sets are unique in their pool: equal ones are the same pointer. */

static size_t slot_of(const struct alert_set *s, const struct lt_labels *l)
{
	size_t i = (size_t)l->hash & (s->cap - 1);

	while (s->slots[i] && s->slots[i]->pub.labels != l)
		i = (i + 1) & (s->cap - 1);
	return i;
}

struct alert *alert_set_find(const struct alert_set *s, const struct lt_labels *l)
{
	return s->cap ? s->slots[slot_of(s, l)] : NULL;
}

static void grow(struct alert_set *s)
{
	size_t cap = s->cap ? 2 * s->cap : 16;

	free(s->slots);
	s->slots = lt_calloc(cap, sizeof(struct alert *));
	s->cap = cap;
	for (struct alert *a = s->first; a; a = a->next)
		s->slots[slot_of(s, a->pub.labels)] = a;
}

void alert_set_add(struct alert_set *s, struct alert *a)
{
	if (2 * (s->n + 1) > s->cap)
		grow(s);
	s->slots[slot_of(s, a->pub.labels)] = a;
	a->prev = s->last;
	a->next = NULL;
	if (s->last)
		s->last->next = a;
	else
		s->first = a;
	s->last = a;
	s->n++;
}

void alert_set_remove(struct alert_set *s, struct alert *a)
{
	size_t hole = slot_of(s, a->pub.labels), i = hole, home;

	/* what stood behind it because its own place was taken moves up */
	for (;;) {
		i = (i + 1) & (s->cap - 1);
		if (!s->slots[i])
			break;
		home = (size_t)s->slots[i]->pub.labels->hash & (s->cap - 1);
		if (((i - home) & (s->cap - 1)) >= ((i - hole) & (s->cap - 1))) {
			s->slots[hole] = s->slots[i];
			hole = i;
		}
	}
	s->slots[hole] = NULL;
	if (a->prev)
		a->prev->next = a->next;
	else
		s->first = a->next;
	if (a->next)
		a->next->prev = a->prev;
	else
		s->last = a->prev;
	a->next = a->prev = NULL;
	s->n--;
}

void alert_free(struct lt_label_pool *pool, struct alert *a)
{
	lt_labels_put(pool, a->pub.labels);
	for (size_t i = 0; i < LT_ARRAY_LEN(a->series); i++)
		lt_labels_put(pool, a->series[i]);
	free(a->text);
	free(a);
}

void alert_set_fini(struct lt_label_pool *pool, struct alert_set *s)
{
	for (struct alert *a = s->first, *next; a; a = next) {
		next = a->next;
		alert_free(pool, a);
	}
	free(s->slots);
	*s = (struct alert_set){0};
}

void alert_annotate(struct alert *a, const struct lt_rule_pair *p, size_t n)
{
	struct lt_rule_pair *own;
	size_t size = n * sizeof(*p);
	char *text;

	for (size_t i = 0; i < n; i++)
		size += strlen(p[i].name) + strlen(p[i].value) + 2;
	own = lt_malloc(size ? size : 1);
	text = (char *)(own + n);
	for (size_t i = 0; i < n; i++) {
		own[i].name = text;
		text = stpcpy(text, p[i].name) + 1;
		own[i].value = text;
		text = stpcpy(text, p[i].value) + 1;
	}
	free(a->text);
	a->text = own;
	a->pub.annotations = own;
	a->pub.n_annotations = n;
}

void series_list_add(struct series_list *s, const struct lt_labels *l)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->l = lt_realloc(s->l, s->cap * sizeof(*s->l));
	}
	s->l[s->n++] = l;
}

void series_list_fini(struct lt_label_pool *pool, struct series_list *s)
{
	for (size_t i = 0; i < s->n; i++)
		lt_labels_put(pool, s->l[i]);
	free(s->l);
	*s = (struct series_list){0};
}

/* ---- the set of one evaluation ---- */

void seen_begin(struct lt_rules *r, size_t n)
{
	size_t cap = 16;

	while (cap < 2 * n)
		cap *= 2;
	if (cap > r->seen_cap || cap * 8 < r->seen_cap) {
		free(r->seen);
		r->seen = lt_malloc(cap * sizeof(*r->seen));
		r->seen_cap = cap;
	}
	memset(r->seen, 0, r->seen_cap * sizeof(*r->seen));
}

bool seen_add(struct lt_rules *r, const struct lt_labels *l)
{
	size_t i = (size_t)l->hash & (r->seen_cap - 1);

	for (; r->seen[i]; i = (i + 1) & (r->seen_cap - 1)) {
		if (r->seen[i] == l)
			return false;
	}
	r->seen[i] = l;
	return true;
}

bool seen_has(const struct lt_rules *r, const struct lt_labels *l)
{
	size_t i = (size_t)l->hash & (r->seen_cap - 1);

	for (; r->seen[i]; i = (i + 1) & (r->seen_cap - 1)) {
		if (r->seen[i] == l)
			return true;
	}
	return false;
}

struct made *made_at(struct rule *rule, size_t i)
{
	while (rule->n_made <= i) {
		if (!(rule->n_made & (rule->n_made - 1)))
			rule->made = lt_realloc(rule->made,
				(rule->n_made ? 2 * rule->n_made : 1) * sizeof(*rule->made));
		rule->made[rule->n_made++] = (struct made){0};
	}
	return &rule->made[i];
}
