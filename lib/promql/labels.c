/* SPDX-License-Identifier: MIT */
#include "latido/labels.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/*
 * Two open-addressing tables with linear probing. That of the symbols holds their numbers, which
 * index an array of pointers; numbers of freed symbols are used again. That of the sets holds
 * pointers. Both delete by moving the following entries back, so there are no tombstones.
 */

struct sym {
	uint32_t refs;
	uint32_t len;
	uint32_t hash;
	char text[];
};

struct lt_label_pool {
	uint64_t seed;
	struct sym **syms; /* [0] is unused */
	uint32_t n_syms, cap_syms;
	uint32_t *free_syms;
	uint32_t n_free, cap_free;
	uint32_t *sym_slots;
	uint32_t sym_mask, sym_used;
	struct lt_labels **slots;
	uint32_t mask, used;
	size_t bytes; /* of symbols and sets */
	/* For building a set. */
	struct lt_labels_pair *tmp;
	size_t tmp_cap;
};

#define FIRST_SLOTS 64

struct lt_label_pool *lt_label_pool_new(void)
{
	struct lt_label_pool *p = lt_calloc(1, sizeof(*p));
	uint32_t name;

	p->seed = lt_random_u64();
	p->sym_mask = p->mask = FIRST_SLOTS - 1;
	p->sym_slots = lt_calloc(FIRST_SLOTS, sizeof(*p->sym_slots));
	p->slots = lt_calloc(FIRST_SLOTS, sizeof(struct lt_labels *));
	p->cap_syms = FIRST_SLOTS;
	p->syms = lt_calloc(p->cap_syms, sizeof(struct sym *));
	p->n_syms = 1;
	name = lt_sym_get(p, "__name__", 8); /* stays for ever */
	assert(name == LT_SYM_NAME);
	return p;
}

void lt_label_pool_free(struct lt_label_pool *p)
{
	if (!p)
		return;
	for (size_t i = 0; i <= p->mask; i++)
		free(p->slots[i]);
	for (size_t i = 1; i < p->n_syms; i++)
		free(p->syms[i]);
	free(p->slots);
	free(p->syms);
	free(p->free_syms);
	free(p->sym_slots);
	free(p->tmp);
	free(p);
}

void lt_label_pool_info(const struct lt_label_pool *p, struct lt_label_pool_info *out)
{
	out->sets = p->used;
	out->symbols = p->sym_used;
	out->bytes = p->bytes + sizeof(*p) + ((size_t)p->mask + 1) * sizeof(struct lt_labels *) +
		     ((size_t)p->sym_mask + 1) * sizeof(*p->sym_slots) +
		     p->cap_syms * sizeof(struct sym *) + p->cap_free * sizeof(*p->free_syms);
}

/* ---- symbols ---- */

static void sym_grow(struct lt_label_pool *p)
{
	uint32_t mask = p->sym_mask * 2 + 1;
	uint32_t *slots = lt_calloc((size_t)mask + 1, sizeof(*slots));

	for (size_t i = 0; i <= p->sym_mask; i++) {
		uint32_t s = p->sym_slots[i];

		if (s) {
			uint32_t at = p->syms[s]->hash & mask;

			while (slots[at])
				at = (at + 1) & mask;
			slots[at] = s;
		}
	}
	free(p->sym_slots);
	p->sym_slots = slots;
	p->sym_mask = mask;
}

/* Place of a text in the table: its own or the free one where it belongs. */
static uint32_t sym_find(const struct lt_label_pool *p, const char *s, size_t n, uint32_t hash)
{
	uint32_t at = hash & p->sym_mask;

	while (p->sym_slots[at]) {
		const struct sym *y = p->syms[p->sym_slots[at]];

		if (y->hash == hash && y->len == n && memcmp(y->text, s, n) == 0)
			break;
		at = (at + 1) & p->sym_mask;
	}
	return at;
}

static uint32_t sym_number(struct lt_label_pool *p)
{
	if (p->n_free)
		return p->free_syms[--p->n_free];
	if (p->n_syms == p->cap_syms) {
		p->cap_syms *= 2;
		p->syms = lt_realloc(p->syms, p->cap_syms * sizeof(struct sym *));
	}
	return p->n_syms++;
}

uint32_t lt_sym_get(struct lt_label_pool *p, const char *s, size_t n)
{
	uint32_t hash, at, number;
	struct sym *y;

	if (n == 0)
		return LT_SYM_NONE;
	hash = (uint32_t)XXH3_64bits_withSeed(s, n, p->seed);
	at = sym_find(p, s, n, hash);
	number = p->sym_slots[at];
	if (number) {
		p->syms[number]->refs++;
		return number;
	}
	y = lt_malloc(sizeof(*y) + n + 1);
	y->refs = 1;
	y->len = (uint32_t)n;
	y->hash = hash;
	memcpy(y->text, s, n);
	y->text[n] = '\0';
	number = sym_number(p);
	p->syms[number] = y;
	p->sym_slots[at] = number;
	p->bytes += sizeof(*y) + n + 1;
	if (++p->sym_used > p->sym_mask / 4 * 3)
		sym_grow(p);
	return number;
}

static void sym_delete(struct lt_label_pool *p, uint32_t number)
{
	struct sym *y = p->syms[number];
	uint32_t hole = sym_find(p, y->text, y->len, y->hash);

	for (uint32_t at = (hole + 1) & p->sym_mask; p->sym_slots[at];
		at = (at + 1) & p->sym_mask) {
		uint32_t home = p->syms[p->sym_slots[at]]->hash & p->sym_mask;

		if (((at - home) & p->sym_mask) >= ((at - hole) & p->sym_mask)) {
			p->sym_slots[hole] = p->sym_slots[at];
			hole = at;
		}
	}
	p->sym_slots[hole] = 0;
	p->sym_used--;
	p->bytes -= sizeof(*y) + y->len + 1;
	free(y);
	p->syms[number] = NULL;
	if (p->n_free == p->cap_free) {
		p->cap_free = p->cap_free ? p->cap_free * 2 : 64;
		p->free_syms = lt_realloc(p->free_syms, p->cap_free * sizeof(*p->free_syms));
	}
	p->free_syms[p->n_free++] = number;
}

void lt_sym_put(struct lt_label_pool *p, uint32_t sym)
{
	if (sym != LT_SYM_NONE && --p->syms[sym]->refs == 0)
		sym_delete(p, sym);
}

const char *lt_sym_text(const struct lt_label_pool *p, uint32_t sym, size_t *len)
{
	if (sym == LT_SYM_NONE) {
		if (len)
			*len = 0;
		return "";
	}
	if (len)
		*len = p->syms[sym]->len;
	return p->syms[sym]->text;
}

static int sym_cmp(const struct lt_label_pool *p, uint32_t a, uint32_t b)
{
	const struct sym *x = p->syms[a], *y = p->syms[b];
	int c;

	if (a == b)
		return 0;
	c = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
	return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* ---- sets ---- */

static void sets_grow(struct lt_label_pool *p)
{
	uint32_t mask = p->mask * 2 + 1;
	struct lt_labels **slots = lt_calloc((size_t)mask + 1, sizeof(struct lt_labels *));

	for (size_t i = 0; i <= p->mask; i++) {
		struct lt_labels *l = p->slots[i];

		if (l) {
			uint32_t at = (uint32_t)l->hash & mask;

			while (slots[at])
				at = (at + 1) & mask;
			slots[at] = l;
		}
	}
	free(p->slots);
	p->slots = slots;
	p->mask = mask;
}

/* The set of these pairs, sorted; takes over their references to symbols. */
static const struct lt_labels *intern_sorted(
	struct lt_label_pool *p, const struct lt_labels_pair *pair, size_t n)
{
	uint64_t hash = XXH3_64bits_withSeed(pair, n * sizeof(*pair), p->seed);
	uint32_t at = (uint32_t)hash & p->mask;
	struct lt_labels *l;

	for (; (l = p->slots[at]); at = (at + 1) & p->mask) {
		if (l->hash != hash || l->n != n ||
			(n && memcmp(l->pair, pair, n * sizeof(*pair)) != 0))
			continue;
		for (size_t i = 0; i < n; i++) {
			lt_sym_put(p, pair[i].name);
			lt_sym_put(p, pair[i].value);
		}
		l->refs++;
		return l;
	}
	l = lt_malloc(sizeof(*l) + n * sizeof(*pair));
	l->hash = hash;
	l->refs = 1;
	l->n = (uint16_t)n;
	l->flags = 0;
	if (n)
		memcpy(l->pair, pair, n * sizeof(*pair));
	p->slots[at] = l;
	p->bytes += sizeof(*l) + n * sizeof(*pair);
	if (++p->used > p->mask / 4 * 3)
		sets_grow(p);
	return l;
}

static struct lt_labels_pair *room(struct lt_label_pool *p, size_t n)
{
	assert(n <= UINT16_MAX);
	if (n > p->tmp_cap) {
		p->tmp_cap = n < 16 ? 16 : n * 2;
		p->tmp = lt_realloc(p->tmp, p->tmp_cap * sizeof(*p->tmp));
	}
	return p->tmp;
}

/* Into its place in @pair[0..n); replaces one of that name. Takes over both references. */
static size_t insert(
	struct lt_label_pool *p, struct lt_labels_pair *pair, size_t n, struct lt_labels_pair new)
{
	size_t i = n;
	int c = 1;

	while (i > 0 && (c = sym_cmp(p, new.name, pair[i - 1].name)) < 0)
		i--;
	if (i > 0 && c == 0) {
		lt_sym_put(p, pair[i - 1].name);
		lt_sym_put(p, pair[i - 1].value);
		pair[i - 1] = new;
		return n;
	}
	memmove(&pair[i + 1], &pair[i], (n - i) * sizeof(*pair));
	pair[i] = new;
	return n + 1;
}

/* Sets of labels, empty values included, which are taken out at the end. */
static const struct lt_labels *finish(
	struct lt_label_pool *p, struct lt_labels_pair *pair, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (pair[i].value == LT_SYM_NONE)
			lt_sym_put(p, pair[i].name);
		else
			pair[kept++] = pair[i];
	}
	return intern_sorted(p, pair, kept);
}

static size_t insert_texts(struct lt_label_pool *p, struct lt_labels_pair *pair, size_t have,
	const struct lt_label_text *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (l[i].name_len == 0)
			continue;
		have = insert(p, pair, have,
			(struct lt_labels_pair){lt_sym_get(p, l[i].name, l[i].name_len),
				lt_sym_get(p, l[i].value, l[i].value_len)});
	}
	return have;
}

const struct lt_labels *lt_labels_intern(
	struct lt_label_pool *p, const struct lt_label_text *l, size_t n)
{
	struct lt_labels_pair *pair = room(p, n);

	return finish(p, pair, insert_texts(p, pair, 0, l, n));
}

const struct lt_labels *lt_labels_empty(struct lt_label_pool *p)
{
	return intern_sorted(p, NULL, 0);
}

const struct lt_labels *lt_labels_with(struct lt_label_pool *p, const struct lt_labels *l,
	const struct lt_label_text *set, size_t n)
{
	struct lt_labels_pair *pair = room(p, l->n + n);

	for (size_t i = 0; i < l->n; i++) {
		pair[i] = l->pair[i];
		p->syms[pair[i].name]->refs++;
		p->syms[pair[i].value]->refs++;
	}
	return finish(p, pair, insert_texts(p, pair, l->n, set, n));
}

const struct lt_labels *lt_labels_keep(struct lt_label_pool *p, const struct lt_labels *l,
	const uint32_t *names, size_t n, bool keep)
{
	struct lt_labels_pair *pair = room(p, l->n);
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++) {
		bool found = false;

		for (size_t k = 0; k < n && !found; k++)
			found = l->pair[i].name == names[k];
		if (found == keep) {
			pair[kept++] = l->pair[i];
			p->syms[l->pair[i].name]->refs++;
			p->syms[l->pair[i].value]->refs++;
		}
	}
	return intern_sorted(p, pair, kept);
}

const struct lt_labels *lt_labels_without_name(struct lt_label_pool *p, const struct lt_labels *l)
{
	static const uint32_t name = LT_SYM_NAME;

	return lt_labels_keep(p, l, &name, 1, false);
}

const struct lt_labels *lt_labels_get(const struct lt_labels *l)
{
	((struct lt_labels *)(uintptr_t)l)->refs++;
	return l;
}

void lt_labels_put(struct lt_label_pool *p, const struct lt_labels *cl)
{
	struct lt_labels *l = (struct lt_labels *)(uintptr_t)cl;
	uint32_t hole;

	if (!l || --l->refs)
		return;
	for (hole = (uint32_t)l->hash & p->mask; p->slots[hole] != l;)
		hole = (hole + 1) & p->mask;
	for (uint32_t at = (hole + 1) & p->mask; p->slots[at]; at = (at + 1) & p->mask) {
		uint32_t home = (uint32_t)p->slots[at]->hash & p->mask;

		if (((at - home) & p->mask) >= ((at - hole) & p->mask)) {
			p->slots[hole] = p->slots[at];
			hole = at;
		}
	}
	p->slots[hole] = NULL;
	p->used--;
	p->bytes -= sizeof(*l) + l->n * sizeof(l->pair[0]);
	for (size_t i = 0; i < l->n; i++) {
		lt_sym_put(p, l->pair[i].name);
		lt_sym_put(p, l->pair[i].value);
	}
	free(l);
}

const char *lt_labels_value(
	const struct lt_label_pool *p, const struct lt_labels *l, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < l->n; i++) {
		const struct sym *y = p->syms[l->pair[i].name];

		if (y->len == n && memcmp(y->text, name, n) == 0)
			return p->syms[l->pair[i].value]->text;
	}
	return "";
}

int lt_labels_cmp(
	const struct lt_label_pool *p, const struct lt_labels *a, const struct lt_labels *b)
{
	if (a == b)
		return 0;
	for (size_t i = 0; i < a->n && i < b->n; i++) {
		int c = sym_cmp(p, a->pair[i].name, b->pair[i].name);

		if (!c)
			c = sym_cmp(p, a->pair[i].value, b->pair[i].value);
		if (c)
			return c;
	}
	return (a->n > b->n) - (a->n < b->n);
}
