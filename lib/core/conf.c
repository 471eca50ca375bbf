/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_priv.h"

#define FILE_SUFFIX "_file"

struct lt_conf_check {
	struct lt_conf_run *run;
	const struct lt_conf_section *section;
};

/* ---- the schema ---- */

const struct lt_conf_section *lt_conf_find_section(const struct lt_conf_schema *s, const char *name)
{
	for (size_t i = 0; i < s->n_sections; i++) {
		if (!strcmp(s->sections[i]->name, name))
			return s->sections[i];
	}
	return NULL;
}

struct lt_conf_ref lt_conf_ref_at(const struct lt_conf_schema *s, size_t section, size_t key)
{
	struct lt_conf_ref ref = {
		.section = s->sections[section],
		.key = &s->sections[section]->keys[key],
		.index = key,
	};

	for (size_t i = 0; i < section; i++)
		ref.index += s->sections[i]->n_keys;
	return ref;
}

/* Is @name the key's own name, or that of its companion? */
static bool matches(const struct lt_conf_key *key, const char *name, bool *file)
{
	size_t n = strlen(key->name);

	if (strncmp(name, key->name, n))
		return false;
	*file = !strcmp(name + n, FILE_SUFFIX);
	return !name[n] || (*file && (key->flags & LT_CONF_SECRET));
}

bool lt_conf_find(const struct lt_conf_schema *s, const struct lt_conf_section *section,
	const char *name, struct lt_conf_ref *ref)
{
	bool file;

	for (size_t i = 0; i < s->n_sections; i++) {
		if (s->sections[i] != section)
			continue;
		for (size_t j = 0; j < section->n_keys; j++) {
			if (matches(&section->keys[j], name, &file)) {
				*ref = lt_conf_ref_at(s, i, j);
				ref->file = file;
				return true;
			}
		}
	}
	return false;
}

const char *lt_conf_path(const struct lt_conf_ref *ref, char out[LT_CONF_NAME_MAX])
{
	snprintf(out, LT_CONF_NAME_MAX, "%s.%s%s", ref->section->name, ref->key->name,
		ref->file ? FILE_SUFFIX : "");
	return out;
}

void *lt_conf_field(const struct lt_conf *c, const struct lt_conf_ref *ref)
{
	return (char *)c->root + ref->section->offset + ref->key->offset;
}

/* ---- one value ---- */

bool lt_conf_take(
	struct lt_conf_run *run, const struct lt_conf_ref *ref, const struct lt_conf_pos *pos)
{
	struct lt_conf_setting *s = &run->conf->settings[ref->index];
	char path[LT_CONF_NAME_MAX];

	if (s->pos.src && s->pos.src->layer == pos->src->layer) {
		if (s->file != ref->file) {
			lt_conf_say(run, LT_CONF_ERROR, pos, lt_conf_path(ref, path), !ref->file,
				"set %s or %s%s, not both", ref->key->name, ref->key->name,
				FILE_SUFFIX);
			s->bad = true;
			return false;
		}
		/* twice in the environment: the first counts, as for getenv(3) */
		if (pos->src->kind == LT_CONF_FROM_ENV)
			return false;
	}
	free(s->secret_file);
	*s = (struct lt_conf_setting){.pos = *pos, .file = ref->file};
	return true;
}

void lt_conf_set_text(struct lt_conf_run *run, const struct lt_conf_ref *ref,
	const struct lt_conf_pos *pos, const char *text, size_t len, int form)
{
	static const struct lt_conf_key file_key = {.type = LT_CONF_STRING, .min = 1, .max = 4095};
	const struct lt_conf_key *key = ref->file ? &file_key : ref->key;
	struct lt_conf_setting *s = &run->conf->settings[ref->index];
	union lt_conf_value v;
	struct lt_err err = {0};
	char path[LT_CONF_NAME_MAX];

	if (lt_conf_scan(key, text, len, form, &v, &err)) {
		s->bad = true;
		lt_conf_say(run, LT_CONF_ERROR, pos, lt_conf_path(ref, path),
			!ref->file && (key->flags & LT_CONF_SECRET), "%s", err.msg);
		return;
	}
	if (ref->file)
		s->secret_file = v.s;
	else
		lt_conf_store(key, lt_conf_field(run->conf, ref), &v);
}

static void set_defaults(struct lt_conf_run *run)
{
	const struct lt_conf_schema *schema = run->conf->schema;
	const struct lt_conf_pos pos = {0};

	for (size_t i = 0; i < schema->n_sections; i++) {
		for (size_t j = 0; j < schema->sections[i]->n_keys; j++) {
			struct lt_conf_ref ref = lt_conf_ref_at(schema, i, j);

			lt_conf_set_text(
				run, &ref, &pos, ref.key->def, strlen(ref.key->def), LT_FORM_BARE);
		}
	}
}

/* ---- checks of a section as a whole ---- */

static void LT_PRINTF(4, 0)
	reject(struct lt_conf_check *k, const char *name, bool hide, const char *fmt, va_list ap)
{
	struct lt_conf_ref ref;
	struct lt_conf_setting *s;
	char path[LT_CONF_NAME_MAX], text[512];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (!lt_conf_find(k->run->conf->schema, k->section, name, &ref)) {
		lt_conf_say(k->run, LT_CONF_ERROR, NULL, k->section->name, true, "%s", text);
		return;
	}
	s = &k->run->conf->settings[ref.index];
	if (s->bad)
		return;
	s->bad = true;
	lt_conf_say(k->run, LT_CONF_ERROR, &s->pos, lt_conf_path(&ref, path),
		hide || (ref.key->flags & LT_CONF_SECRET), "%s", text);
}

void lt_conf_reject(struct lt_conf_check *k, const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reject(k, key, false, fmt, ap);
	va_end(ap);
}

void lt_conf_reject_hidden(struct lt_conf_check *k, const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reject(k, key, true, fmt, ap);
	va_end(ap);
}

static void check_sections(struct lt_conf_run *run)
{
	const struct lt_conf_schema *schema = run->conf->schema;

	for (size_t i = 0; i < schema->n_sections; i++) {
		struct lt_conf_check k = {.run = run, .section = schema->sections[i]};

		if (k.section->check)
			k.section->check(&k, (char *)run->conf->root + k.section->offset);
	}
}

/* ---- a load ---- */

struct lt_conf_source *lt_conf_add_source(struct lt_conf_run *run, enum lt_conf_source_kind kind,
	unsigned layer, const char *name, const char *data, size_t size)
{
	struct lt_conf *c = run->conf;
	struct lt_conf_source *s = lt_arena_alloc(&c->arena, sizeof(*s));

	*s = (struct lt_conf_source){
		.kind = kind,
		.layer = layer,
		.name = lt_arena_str(&c->arena, name, strlen(name)),
		.data = data,
		.size = size,
		.next = c->sources,
	};
	c->sources = s;
	return s;
}

static void start(
	struct lt_conf_run *run, const struct lt_conf_schema *schema, struct lt_buf *errors)
{
	struct lt_conf *c = lt_calloc(1, sizeof(*c));

	c->schema = schema;
	c->root = lt_calloc(1, schema->root_size);
	for (size_t i = 0; i < schema->n_sections; i++)
		c->n_settings += schema->sections[i]->n_keys;
	c->settings = lt_calloc(c->n_settings, sizeof(*c->settings));
	*run = (struct lt_conf_run){.conf = c, .out = errors};
	set_defaults(run);
}

static struct lt_conf *finish(struct lt_conf_run *run)
{
	struct lt_conf *c = run->conf;

	lt_conf_read_secrets(run);
	check_sections(run);
	lt_conf_say_rest(run);
	for (struct lt_conf_source *s = c->sources; s; s = s->next)
		s->data = NULL;
	if (!run->n_errors)
		return c;
	lt_conf_free(c);
	return NULL;
}

static void apply_source(struct lt_conf_run *run, const struct lt_conf_source *src)
{
	struct lt_arena arena = {0};
	struct lt_conf_node *root = lt_conf_parse(run, src, &arena);

	if (root)
		lt_conf_apply(run, root);
	lt_arena_fini(&arena);
}

/* The text stays for the excerpts of later checks; the caller frees it. */
static char *apply_file(struct lt_conf_run *run, const char *path, unsigned layer, size_t *size)
{
	struct lt_conf_source *src =
		lt_conf_add_source(run, LT_CONF_FROM_FILE, layer, path, NULL, 0);
	struct lt_conf_pos pos = {.src = src};
	struct lt_err err = {0};
	char *data = NULL;

	if (lt_conf_read_file(path, LT_CONF_MAX_BYTES, false, &data, size, &err)) {
		lt_conf_say(run, LT_CONF_ERROR, &pos, NULL, false, "%s", err.msg);
		return NULL;
	}
	src->data = data;
	src->size = *size;
	apply_source(run, src);
	return data;
}

struct lt_conf *lt_conf_load(const struct lt_conf_schema *schema, const char *const *files,
	size_t n_files, char **environ_, const char *const *overrides, size_t n_overrides,
	struct lt_buf *errors)
{
	struct lt_conf_run run;
	struct lt_conf *c;
	char **texts = lt_calloc(n_files + 1, sizeof(*texts));
	size_t *sizes = lt_calloc(n_files + 1, sizeof(*sizes));

	start(&run, schema, errors);
	for (size_t i = 0; i < n_files; i++)
		texts[i] = apply_file(&run, files[i], (unsigned)i + 1, &sizes[i]);
	if (environ_)
		lt_conf_apply_env(&run, environ_, (unsigned)n_files + 1);
	lt_conf_apply_overrides(&run, overrides, n_overrides, (unsigned)n_files + 2);
	c = finish(&run);
	for (size_t i = 0; i < n_files; i++) {
		if (texts[i])
			explicit_bzero(texts[i], sizes[i]);
		free(texts[i]);
	}
	free(texts);
	free(sizes);
	return c;
}

struct lt_conf *lt_conf_load_text(const struct lt_conf_schema *schema, const char *name,
	const char *text, size_t size, struct lt_buf *errors)
{
	struct lt_conf_run run;
	struct lt_conf_source *src;

	start(&run, schema, errors);
	src = lt_conf_add_source(&run, LT_CONF_FROM_FILE, 1, name, text, size);
	if (size > LT_CONF_MAX_BYTES) {
		struct lt_conf_pos pos = {.src = src};

		lt_conf_say(&run, LT_CONF_ERROR, &pos, NULL, false,
			"is larger than %d bytes, the most that is read", LT_CONF_MAX_BYTES);
	} else {
		apply_source(&run, src);
	}
	return finish(&run);
}

void lt_conf_free(struct lt_conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->schema->n_sections; i++) {
		for (size_t j = 0; j < c->schema->sections[i]->n_keys; j++) {
			struct lt_conf_ref ref = lt_conf_ref_at(c->schema, i, j);

			lt_conf_field_fini(ref.key, lt_conf_field(c, &ref));
			free(c->settings[ref.index].secret_file);
		}
	}
	free(c->settings);
	free(c->root);
	lt_arena_fini(&c->arena);
	free(c);
}

void *lt_conf_root(struct lt_conf *c)
{
	return c->root;
}
