/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "conf_priv.h"

#define WIDTH      80
#define ORIGIN_COL 40

/* ---- nesting: "mqtt.client_id" stands two levels deep ---- */

static size_t depth_of(const char *name)
{
	size_t n = 0;

	for (; *name; name++)
		n += *name == '.';
	return n;
}

static void indent(struct lt_buf *out, size_t depth)
{
	for (size_t i = 0; i <= depth; i++)
		lt_buf_str(out, "  ");
}

static const char *leaf_of(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? dot + 1 : name;
}

/* The groups that @name is in and @last was not. */
static void open_groups(struct lt_buf *out, const char *last, const char *name)
{
	size_t depth = 0, same = 0;

	for (size_t i = 0; last[i] && last[i] == name[i]; i++) {
		if (name[i] == '.')
			same = i + 1;
	}
	for (const char *p = name, *dot; (dot = strchr(p, '.')); p = dot + 1, depth++) {
		if ((size_t)(p - name) < same)
			continue;
		indent(out, depth);
		lt_buf_add(out, p, (size_t)(dot - p));
		lt_buf_str(out, ":\n");
	}
}

/* ---- effective values ---- */

static void put_origin(struct lt_buf *out, const struct lt_conf_pos *pos, size_t line_start)
{
	size_t used = out->len - line_start;

	do
		lt_buf_char(out, ' ');
	while (++used < ORIGIN_COL);
	lt_buf_str(out, "# ");
	if (!pos->src) {
		lt_buf_str(out, "default\n");
		return;
	}
	/* a file name may hold anything but must not end the comment */
	for (const char *p = pos->src->name; *p; p++)
		lt_buf_char(out, iscntrl((unsigned char)*p) ? '?' : *p);
	if (pos->src->kind == LT_CONF_FROM_FILE)
		lt_buf_printf(out, ":%zu", pos->line);
	lt_buf_char(out, '\n');
}

static void put_setting(struct lt_buf *out, const struct lt_conf *c, const struct lt_conf_ref *ref)
{
	const struct lt_conf_setting *s = &c->settings[ref->index];
	const char *leaf = leaf_of(ref->key->name);
	const void *field = lt_conf_field(c, ref);
	size_t start = out->len;

	indent(out, depth_of(ref->key->name));
	if (s->secret_file) {
		lt_buf_printf(out, "%s_file: ", leaf);
		lt_conf_put_string(out, s->secret_file);
	} else if ((ref->key->flags & LT_CONF_SECRET) && **(char *const *)field) {
		/* as a value, "***" would be taken for the password when this is loaded again */
		lt_buf_printf(out, "# %s: ***", leaf);
	} else {
		lt_buf_printf(out, "%s: ", leaf);
		lt_conf_put_field(out, ref->key, field);
	}
	put_origin(out, &s->pos, start);
}

void lt_conf_print(const struct lt_conf *c, struct lt_buf *out)
{
	for (size_t i = 0; i < c->schema->n_sections; i++) {
		const struct lt_conf_section *section = c->schema->sections[i];
		const char *last = "";

		lt_buf_printf(out, "%s%s:\n", i ? "\n" : "", section->name);
		for (size_t j = 0; j < section->n_keys; j++) {
			struct lt_conf_ref ref = lt_conf_ref_at(c->schema, i, j);

			open_groups(out, last, ref.key->name);
			put_setting(out, c, &ref);
			last = ref.key->name;
		}
	}
}

/* ---- the sample ---- */

/* @text as comment lines of at most WIDTH columns. */
static void put_comment(struct lt_buf *out, size_t depth, bool top, const char *text)
{
	size_t used = 0, n;

	while (*text) {
		n = strcspn(text, " ");
		if (!used || used + 1 + n > WIDTH) {
			if (used)
				lt_buf_char(out, '\n');
			if (!top)
				indent(out, depth);
			lt_buf_char(out, '#');
			used = (top ? 0 : 2 * depth + 2) + 1;
		}
		lt_buf_char(out, ' ');
		lt_buf_add(out, text, n);
		used += 1 + n;
		text += n + strspn(text + n, " ");
	}
	lt_buf_char(out, '\n');
}

static void put_default(struct lt_buf *out, const struct lt_conf_key *key)
{
	union lt_conf_value v;
	struct lt_err err = {0};

	if (lt_conf_scan(key, key->def, strlen(key->def), LT_FORM_BARE, &v, &err))
		return;
	lt_conf_put_field(out, key, &v);
	lt_conf_value_fini(key, &v);
}

static void put_sample_key(struct lt_buf *out, const struct lt_conf_key *key)
{
	struct lt_buf text = {0};
	size_t depth = depth_of(key->name);

	lt_buf_printf(&text, "%s (", key->help);
	lt_conf_put_kind(&text, key);
	if (key->flags & LT_CONF_RELOAD)
		lt_buf_str(&text, "; SIGHUP takes a change over");
	lt_buf_char(&text, ')');
	put_comment(out, depth, false, text.data);
	if (key->flags & LT_CONF_SECRET) {
		lt_buf_reset(&text);
		lt_buf_printf(&text,
			"Rather than here, keep it in a file of its own and name that as "
			"%s_file.",
			leaf_of(key->name));
		put_comment(out, depth, false, text.data);
	}
	indent(out, depth);
	lt_buf_printf(out, "#%s: ", leaf_of(key->name));
	put_default(out, key);
	lt_buf_char(out, '\n');
	lt_buf_fini(&text);
}

void lt_conf_sample(const struct lt_conf_schema *schema, struct lt_buf *out)
{
	lt_buf_str(out,
		"# Configuration of all Latido programs; latido.yaml(5) is its reference.\n"
		"# Lines such as \"#key: value\" show the defaults: remove the # to change one.\n"
		"# Durations and sizes need their unit (250ms, 30s, 5m, 12h, 7d; 4096B, 64KiB,\n"
		"# 8MiB, 1GiB). --check-config names every mistake with its line.\n");
	for (size_t i = 0; i < schema->n_sections; i++) {
		const struct lt_conf_section *section = schema->sections[i];
		const char *last = "";

		lt_buf_char(out, '\n');
		put_comment(out, 0, true, section->help);
		lt_buf_printf(out, "%s:\n", section->name);
		for (size_t j = 0; j < section->n_keys; j++) {
			open_groups(out, last, section->keys[j].name);
			put_sample_key(out, &section->keys[j]);
			last = section->keys[j].name;
		}
	}
}
