/* SPDX-License-Identifier: MIT */
#include "pg_map.h"

#include <stdlib.h>
#include <string.h>

#include "latido/mem.h"

void *lt_pg_map_find(const struct lt_pg_map *m, uint64_t hash, lt_pg_map_eq eq, const void *key)
{
	if (!m->cap)
		return NULL;
	for (size_t i = hash & (m->cap - 1); m->slots[i].item; i = (i + 1) & (m->cap - 1))
		if (m->slots[i].hash == hash && eq(m->slots[i].item, key))
			return m->slots[i].item;
	return NULL;
}

static void place(struct lt_pg_map *m, uint64_t hash, void *item)
{
	size_t i = hash & (m->cap - 1);

	while (m->slots[i].item)
		i = (i + 1) & (m->cap - 1);
	m->slots[i].hash = hash;
	m->slots[i].item = item;
}

void lt_pg_map_add(struct lt_pg_map *m, uint64_t hash, void *item)
{
	if (2 * (m->n + 1) > m->cap) {
		struct lt_pg_map old = *m;

		m->cap = old.cap ? 2 * old.cap : 64;
		m->slots = lt_calloc(m->cap, sizeof(*m->slots));
		for (size_t i = 0; i < old.cap; i++)
			if (old.slots[i].item)
				place(m, old.slots[i].hash, old.slots[i].item);
		free(old.slots);
	}
	place(m, hash, item);
	m->n++;
}

void *lt_pg_map_next(const struct lt_pg_map *m, size_t *i)
{
	while (*i < m->cap) {
		void *item = m->slots[(*i)++].item;

		if (item)
			return item;
	}
	return NULL;
}

void lt_pg_map_fini(struct lt_pg_map *m)
{
	free(m->slots);
	memset(m, 0, sizeof(*m));
}
