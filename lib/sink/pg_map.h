/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_PG_MAP_H
#define LATIDO_PG_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct lt_pg_map - a hash table of pointers with open addressing; entries are never removed
 * one by one
 *
 * Zero-initialised is empty and valid. The caller hashes and compares.
 */
struct lt_pg_map {
	struct lt_pg_slot {
		uint64_t hash;
		void *item; /* NULL: free */
	} * slots;
	size_t n, cap; /* cap is 0 or a power of two */
};

typedef bool (*lt_pg_map_eq)(const void *item, const void *key);

/** lt_pg_map_find() - Return: the item, or NULL. */
void *lt_pg_map_find(const struct lt_pg_map *m, uint64_t hash, lt_pg_map_eq eq, const void *key);
/** lt_pg_map_add() - the caller knows that it is not there. */
void lt_pg_map_add(struct lt_pg_map *m, uint64_t hash, void *item);
/** lt_pg_map_next() - walk: start with *@i = 0. Return: NULL at the end. */
void *lt_pg_map_next(const struct lt_pg_map *m, size_t *i);
/** lt_pg_map_fini() - forgets the items, which the caller has freed. */
void lt_pg_map_fini(struct lt_pg_map *m);

#endif
