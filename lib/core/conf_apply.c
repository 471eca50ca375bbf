/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_priv.h"

/* The way through one document: run and section stay, the prefix grows ("", "mqtt."). */
struct walk {
	struct lt_conf_run *run;
	const struct lt_conf_section *section;
	char path[LT_CONF_NAME_MAX]; /* "bus.mqtt": where we are, for messages */
};

static const char *describe(const struct lt_conf_node *n, char out[96])
{
	if (n->kind == LT_NODE_SEQ)
		return "a list";
	if (n->kind == LT_NODE_MAP)
		return "a map";
	if (!n->len)
		return n->plain ? "nothing" : "an empty string";
	return lt_conf_quote(n->text, n->len, out);
}

static bool is_empty(const struct lt_conf_node *n)
{
	return n->kind == LT_NODE_SCALAR && n->plain && !n->len;
}

static void join(char out[LT_CONF_NAME_MAX], const char *path, const struct lt_conf_node *key)
{
	char q[96];
	size_t n;

	/* unknown names may be anything: shown as a quoted string is, without the quotes */
	lt_conf_quote(key->text, key->len, q);
	n = strlen(q);
	snprintf(out, LT_CONF_NAME_MAX, "%s%s%.*s", path, *path ? "." : "", (int)(n - 2), q + 1);
}

/* ---- keys of one map ---- */

static int compare_keys(const void *a, const void *b)
{
	const struct lt_conf_node *x = *(const struct lt_conf_node *const *)a;
	const struct lt_conf_node *y = *(const struct lt_conf_node *const *)b;
	size_t n = x->key->len < y->key->len ? x->key->len : y->key->len;
	int d = memcmp(x->key->text, y->key->text, n);

	if (d)
		return d;
	if (x->key->len != y->key->len)
		return x->key->len < y->key->len ? -1 : 1;
	if (x->key->pos.line != y->key->pos.line)
		return x->key->pos.line < y->key->pos.line ? -1 : 1;
	return x->key->pos.col < y->key->pos.col ? -1 : 1;
}

/* Keys that cannot be keys, and second ones of a name, are reported and marked to be skipped. */
static void check_keys(struct walk *w, struct lt_conf_node *map)
{
	struct lt_conf_node **list;
	size_t n = 0;
	char path[LT_CONF_NAME_MAX];

	if (!map->n)
		return;
	list = lt_malloc(map->n * sizeof(struct lt_conf_node *));
	for (struct lt_conf_node *v = map->child; v; v = v->next) {
		if (v->key->kind == LT_NODE_BAD) {
			v->kind = LT_NODE_BAD;
		} else if (v->key->kind != LT_NODE_SCALAR) {
			lt_conf_say(w->run, LT_CONF_ERROR, &v->key->pos, *w->path ? w->path : NULL,
				false, "a key must be one word");
			v->kind = LT_NODE_BAD;
		} else if (v->key->len == 2 && v->key->plain && !memcmp(v->key->text, "<<", 2)) {
			lt_conf_say(w->run, LT_CONF_ERROR, &v->key->pos, *w->path ? w->path : NULL,
				false, "merge keys (<<) are not supported; write the values out");
			v->key->kind = LT_NODE_BAD;
		} else {
			list[n++] = v;
		}
	}
	qsort(list, n, sizeof(*list), compare_keys);
	for (size_t i = 1, first = 0; i < n; i++) {
		const struct lt_conf_node *a = list[first]->key, *b = list[i]->key;

		if (a->len != b->len || memcmp(a->text, b->text, a->len)) {
			first = i;
			continue;
		}
		join(path, w->path, b);
		lt_conf_say(w->run, LT_CONF_ERROR, &b->pos, path, false,
			"is there twice; the first is in line %zu", a->pos.line);
		list[i]->kind = list[i]->key->kind = LT_NODE_BAD;
	}
	free(list);
}

/* ---- values ---- */

static void set_list(struct lt_conf_run *run, const struct lt_conf_ref *ref, const char *path,
	const struct lt_conf_node *node)
{
	union lt_conf_value v = {0};
	bool ok = true;

	for (const struct lt_conf_node *c = node->child; c; c = c->next) {
		struct lt_err err = {0};
		char *item = NULL, q[96];

		if (c->kind == LT_NODE_BAD) {
			ok = false;
		} else if (c->kind != LT_NODE_SCALAR) {
			lt_conf_say(run, LT_CONF_ERROR, &c->pos, path, false,
				"expected a string, got %s", describe(c, q));
			ok = false;
		} else if (lt_conf_scan_item(ref->key, c->text, c->len,
				   c->plain ? LT_FORM_PLAIN : LT_FORM_QUOTED, &item, &err)) {
			lt_conf_say(run, LT_CONF_ERROR, &c->pos, path, false, "%s", err.msg);
			ok = false;
		} else {
			lt_conf_list_add(&v.list, item);
		}
	}
	if (ok)
		lt_conf_store(ref->key, lt_conf_field(run->conf, ref), &v);
	else
		run->conf->settings[ref->index].bad = true;
	lt_conf_value_fini(ref->key, &v);
}

static void set_map(
	struct walk *w, const struct lt_conf_ref *ref, const char *path, struct lt_conf_node *node)
{
	union lt_conf_value v = {0};
	bool ok = true;

	for (const struct lt_conf_node *c = node->child; c; c = c->next) {
		struct lt_err err = {0};
		char *key = NULL, *item = NULL, q[96];

		if (c->kind == LT_NODE_BAD) {
			ok = false;
			continue;
		}
		if (lt_conf_scan_map_key(c->key->text, c->key->len, &key, &err)) {
			lt_conf_say(
				w->run, LT_CONF_ERROR, &c->key->pos, path, false, "%s", err.msg);
		} else if (c->kind != LT_NODE_SCALAR) {
			lt_conf_say(w->run, LT_CONF_ERROR, &c->pos, path, false,
				"expected a string, got %s", describe(c, q));
		} else if (lt_conf_scan_item(ref->key, c->text, c->len,
				   c->plain ? LT_FORM_PLAIN : LT_FORM_QUOTED, &item, &err)) {
			lt_conf_say(w->run, LT_CONF_ERROR, &c->pos, path, false, "%s", err.msg);
		} else {
			lt_conf_map_add(&v.map, key, item);
			continue;
		}
		free(key);
		ok = false;
	}
	if (ok)
		lt_conf_store(ref->key, lt_conf_field(w->run->conf, ref), &v);
	else
		w->run->conf->settings[ref->index].bad = true;
	lt_conf_value_fini(ref->key, &v);
}

static void set_value(struct walk *w, const struct lt_conf_ref *ref, struct lt_conf_node *node)
{
	enum lt_conf_type type = ref->file ? LT_CONF_STRING : ref->key->type;
	char path[LT_CONF_NAME_MAX], q[96];
	bool hide = (ref->key->flags & LT_CONF_SECRET) && !ref->file;

	if (node->kind == LT_NODE_BAD) {
		w->run->conf->settings[ref->index].bad = true;
		return;
	}
	if (!lt_conf_take(w->run, ref, &node->pos))
		return;
	lt_conf_path(ref, path);
	if (type == LT_CONF_LIST && node->kind == LT_NODE_SEQ) {
		set_list(w->run, ref, path, node);
	} else if (type == LT_CONF_MAP && node->kind == LT_NODE_MAP) {
		struct walk inner = *w;

		snprintf(inner.path, sizeof(inner.path), "%s", path);
		check_keys(&inner, node);
		set_map(&inner, ref, path, node);
	} else if (node->kind == LT_NODE_SCALAR) {
		lt_conf_set_text(w->run, ref, &node->pos, node->text, node->len,
			node->plain ? LT_FORM_PLAIN : LT_FORM_QUOTED);
	} else {
		lt_conf_say(w->run, LT_CONF_ERROR, &node->pos, path, hide, "expected %s, got %s",
			lt_conf_type_name(type), describe(node, q));
		w->run->conf->settings[ref->index].bad = true;
	}
}

/* ---- names ---- */

/* The part of @name that a document would have at this level: "mqtt.url" under "" is "mqtt". */
static const char *next_part(const char *name, const char *prefix, size_t *len)
{
	size_t n = strlen(prefix);

	if (strncmp(name, prefix, n))
		return NULL;
	*len = strcspn(name + n, ".");
	return name + n;
}

static bool is_group(const struct lt_conf_section *s, const char *prefix)
{
	for (size_t i = 0; i < s->n_keys; i++) {
		if (!strncmp(s->keys[i].name, prefix, strlen(prefix)))
			return true;
	}
	return false;
}

/* A key of that name elsewhere: "retention" under hot is store.retention. */
static bool find_elsewhere(const struct lt_conf_schema *s, const struct lt_conf_section *here,
	const char *name, char out[LT_CONF_NAME_MAX])
{
	for (int own = 1; own >= 0; own--) {
		for (size_t i = 0; i < s->n_sections; i++) {
			const struct lt_conf_section *sec = s->sections[i];

			if ((sec == here) != (own == 1))
				continue;
			for (size_t j = 0; j < sec->n_keys; j++) {
				const char *dot = strrchr(sec->keys[j].name, '.');

				if (strcmp(sec->keys[j].name, name) &&
					strcmp(dot ? dot + 1 : sec->keys[j].name, name))
					continue;
				snprintf(out, LT_CONF_NAME_MAX, "%s.%s", sec->name,
					sec->keys[j].name);
				return true;
			}
		}
	}
	return false;
}

static void say_unknown(struct walk *w, const char *prefix, const struct lt_conf_node *key)
{
	const struct lt_conf_schema *schema = w->run->conf->schema;
	struct lt_conf_guess g;
	char path[LT_CONF_NAME_MAX], name[LT_CONF_NAME_MAX], other[LT_CONF_NAME_MAX];
	struct lt_conf_ref ref;
	size_t len;

	join(path, w->path, key);
	if (w->run->n_shown == LT_CONF_MAX_REPORTS) {
		lt_conf_say(w->run, LT_CONF_ERROR, &key->pos, path, false, "unknown key");
		return;
	}
	snprintf(name, sizeof(name), "%s%.*s", prefix, (int)(key->len < 64 ? key->len : 64),
		key->text);
	if (memchr(key->text, '.', key->len) && lt_conf_find(schema, w->section, name, &ref)) {
		lt_conf_say(w->run, LT_CONF_ERROR, &key->pos, path, false,
			"unknown key; write the part before the dot as a key of its own, and the "
			"part after it below that, indented");
		return;
	}
	if (find_elsewhere(schema, w->section, name + strlen(prefix), other)) {
		lt_conf_say(w->run, LT_CONF_ERROR, &key->pos, path, false,
			"unknown key; did you mean %s?", other);
		return;
	}
	lt_conf_guess_init(&g, key->text, key->len);
	for (size_t i = 0; i < w->section->n_keys; i++) {
		const char *part = next_part(w->section->keys[i].name, prefix, &len);

		if (part)
			lt_conf_guess_try(&g, part, len);
	}
	if (g.best)
		lt_conf_say(w->run, LT_CONF_ERROR, &key->pos, path, false,
			"unknown key; did you mean %.*s?", (int)strcspn(g.best, "."), g.best);
	else
		lt_conf_say(w->run, LT_CONF_ERROR, &key->pos, path, false,
			"unknown key; latido.yaml(5) and --print-sample-config list those of %s",
			w->section->name);
}

static void say_unknown_section(struct walk *w, const struct lt_conf_node *key)
{
	const struct lt_conf_schema *schema = w->run->conf->schema;
	struct lt_conf_guess g;
	struct lt_buf all = {0};
	char path[LT_CONF_NAME_MAX];

	join(path, "", key);
	lt_conf_guess_init(&g, key->text, key->len);
	for (size_t i = 0; i < schema->n_sections; i++) {
		const char *name = schema->sections[i]->name;

		lt_conf_guess_try(&g, name, strlen(name));
		lt_buf_printf(&all, "%s%s", i ? ", " : "", name);
	}
	if (g.best)
		lt_conf_say(w->run, LT_CONF_ERROR, &key->pos, path, false,
			"unknown section; did you mean %s?", g.best);
	else
		lt_conf_say(w->run, LT_CONF_ERROR, &key->pos, path, false,
			"unknown section; there are %s", all.data);
	lt_buf_fini(&all);
}

/* ---- the walk ---- */

/* A section or a group of keys: a map; nothing at all is an empty one. */
static bool expect_map(struct walk *w, const struct lt_conf_node *node)
{
	char q[96];

	if (node->kind == LT_NODE_MAP)
		return true;
	if (node->kind != LT_NODE_BAD && !is_empty(node))
		lt_conf_say(w->run, LT_CONF_ERROR, &node->pos, w->path, false,
			"expected keys below it, indented, got %s", describe(node, q));
	return false;
}

static void apply_keys(struct walk *w, const char *prefix, struct lt_conf_node *map)
{
	struct lt_conf_ref ref;
	char name[LT_CONF_NAME_MAX];

	check_keys(w, map);
	for (struct lt_conf_node *v = map->child; v; v = v->next) {
		if (v->key->kind != LT_NODE_SCALAR)
			continue;
		if (strlen(prefix) + v->key->len + 2 > sizeof(name) ||
			strlen(v->key->text) != v->key->len || strchr(v->key->text, '.')) {
			say_unknown(w, prefix, v->key);
			continue;
		}
		snprintf(name, sizeof(name), "%s%s", prefix, v->key->text);
		if (lt_conf_find(w->run->conf->schema, w->section, name, &ref)) {
			set_value(w, &ref, v);
			continue;
		}
		strcat(name, ".");
		if (is_group(w->section, name)) {
			struct walk inner = *w;

			join(inner.path, w->path, v->key);
			if (expect_map(&inner, v))
				apply_keys(&inner, name, v);
		} else {
			say_unknown(w, prefix, v->key);
		}
	}
}

void lt_conf_apply(struct lt_conf_run *run, struct lt_conf_node *root)
{
	struct walk w = {.run = run};
	char q[96];

	if (is_empty(root))
		return;
	if (root->kind != LT_NODE_MAP) {
		if (root->kind != LT_NODE_BAD)
			lt_conf_say(run, LT_CONF_ERROR, &root->pos, NULL, false,
				"expected sections such as \"bus:\", got %s", describe(root, q));
		return;
	}
	check_keys(&w, root);
	for (struct lt_conf_node *v = root->child; v; v = v->next) {
		if (v->key->kind != LT_NODE_SCALAR)
			continue;
		w.section = strlen(v->key->text) == v->key->len
				    ? lt_conf_find_section(run->conf->schema, v->key->text)
				    : NULL;
		w.path[0] = '\0';
		if (!w.section) {
			say_unknown_section(&w, v->key);
			continue;
		}
		snprintf(w.path, sizeof(w.path), "%s", w.section->name);
		if (expect_map(&w, v))
			apply_keys(&w, "", v);
	}
}
