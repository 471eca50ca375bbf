/* SPDX-License-Identifier: MIT */
/* What several collectors need. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "collector.h"

char *lt_collect_path(const char *root, const char *fmt, ...)
{
	char tail[512];
	size_t n = strlen(root);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(tail, sizeof(tail), fmt, ap);
	va_end(ap);
	while (n && root[n - 1] == '/')
		n--;
	return lt_asprintf("%.*s/%s", (int)n, root, tail[0] == '/' ? tail + 1 : tail);
}

int lt_collect_stat(struct lt_collect_env *env, struct lt_err *err)
{
	if (env->stat_tick != env->tick || !env->stat.path) {
		if (!env->stat.path)
			lt_procfile_init(
				&env->stat, lt_collect_path(env->conf->procfs, "stat"), true);
		env->stat_rc = lt_procfile_read(&env->stat, &env->stat_err);
		env->stat_tick = env->tick;
	}
	if (env->stat_rc != LT_OK && err)
		*err = env->stat_err;
	return env->stat_rc;
}

void lt_collect_stat_close(struct lt_collect_env *env)
{
	lt_procfile_fini(&env->stat);
}

void lt_collect_keep(struct lt_collect_env *env, struct lt_procfile *f)
{
	f->transient = env->open_files >= env->files_max;
	if (!f->transient)
		env->open_files++;
}

void lt_collect_drop(struct lt_collect_env *env, struct lt_procfile *f)
{
	if (f->path && !f->transient)
		env->open_files--;
	lt_procfile_fini(f);
}

static void names_cut(struct lt_names *ns, size_t n)
{
	for (size_t i = n; i < ns->n; i++) {
		free(ns->v[i].text);
		free(ns->v[i].name);
	}
	if (ns->n > n)
		ns->n = n;
}

const char *lt_names_at(struct lt_names *ns, size_t i, struct lt_token group, struct lt_token key,
	lt_names_make_fn make, void *arg)
{
	size_t len = group.len + key.len;
	struct lt_name *n;

	if (i < ns->n) {
		n = &ns->v[i];
		if (n->key_len == key.len && n->group_len == group.len &&
			memcmp(n->text, group.p, group.len) == 0 &&
			memcmp(n->text + group.len, key.p, key.len) == 0)
			return n->name;
		/* One more or one fewer: what follows has moved too. */
		names_cut(ns, i);
	}
	if (ns->n == ns->cap) {
		ns->cap = ns->cap ? 2 * ns->cap : 32;
		ns->v = lt_realloc(ns->v, ns->cap * sizeof(*ns->v));
	}
	n = &ns->v[ns->n++];
	*n = (struct lt_name){lt_malloc(len + 1), group.len, key.len, make(group, key, arg)};
	memcpy(n->text, group.p, group.len);
	memcpy(n->text + group.len, key.p, key.len);
	n->text[len] = '\0';
	if (!n->name)
		return NULL;
	if (lt_names_clean(n->name)) {
		for (size_t j = 0; j + 1 < ns->n; j++)
			if (ns->v[j].name && strcmp(ns->v[j].name, n->name) == 0)
				goto unwanted;
		return n->name;
	}
unwanted:
	free(n->name);
	n->name = NULL;
	return NULL;
}

void lt_names_fini(struct lt_names *ns)
{
	names_cut(ns, 0);
	free(ns->v);
	*ns = (struct lt_names){0};
}

bool lt_names_clean(char *name)
{
	for (char *p = name; *p; p++)
		if (!(isascii((unsigned char)*p) && isalnum((unsigned char)*p)) && *p != '_' &&
			*p != ':')
			*p = '_';
	return lt_metric_name_valid(name, strlen(name));
}

static struct lt_device *device(const struct lt_devices *ds, size_t i)
{
	return (struct lt_device *)((char *)ds->v + i * ds->size);
}

/* Make a place at @at for the @from-th, or for a new one at the end. */
static void device_to(struct lt_devices *ds, size_t at, size_t from)
{
	char *place = (char *)device(ds, at), *old = (char *)device(ds, from);
	char *moved = lt_malloc(ds->size);

	memcpy(moved, old, ds->size);
	memmove(place + ds->size, place, (size_t)(old - place));
	memcpy(place, moved, ds->size);
	free(moved);
}

void *lt_devices_at(struct lt_devices *ds, size_t at, struct lt_token name,
	const struct lt_match *ignore, bool *is_new)
{
	struct lt_device *d;

	*is_new = false;
	for (size_t i = at; i < ds->n; i++) {
		d = device(ds, i);
		if (d->name_len != name.len || memcmp(d->name, name.p, name.len) != 0)
			continue;
		if (i != at) /* those between are gone, or come later */
			device_to(ds, at, i);
		return device(ds, at);
	}
	if (ds->n == ds->cap) {
		ds->cap = ds->cap ? 2 * ds->cap : 8;
		ds->v = lt_realloc(ds->v, ds->cap * ds->size);
	}
	*is_new = true;
	d = device(ds, ds->n);
	memset(d, 0, ds->size);
	d->name = lt_strndup(name.p, name.len);
	d->name_len = name.len;
	d->ignored = lt_match(ignore, d->name);
	for (size_t i = 0; i < at && !d->ignored; i++)
		d->ignored = !device(ds, i)->ignored && strcmp(device(ds, i)->name, d->name) == 0;
	device_to(ds, at, ds->n++);
	return device(ds, at);
}

void lt_devices_cut(struct lt_devices *ds, size_t n,
	void (*fini)(void *device, struct lt_collect_env *env), struct lt_collect_env *env)
{
	while (ds->n > n) {
		struct lt_device *d = device(ds, --ds->n);

		fini(d, env);
		free(d->name);
	}
	if (n == 0) {
		free(ds->v);
		ds->v = NULL;
		ds->cap = 0;
	}
}

void lt_pairs_add(struct lt_pairs *ps, const char *name, double value)
{
	if (ps->n == ps->cap) {
		ps->cap = ps->cap ? 2 * ps->cap : 64;
		ps->v = lt_realloc(ps->v, ps->cap * sizeof(*ps->v));
	}
	ps->v[ps->n++] = (struct lt_pair){name, value};
}

void lt_pairs_emit(struct lt_pairs *ps, struct lt_snapshot *out, enum lt_kind kind)
{
	for (size_t i = 0; i < ps->n; i++)
		lt_snapshot_value(out, ps->v[i].name, kind, ps->v[i].value);
	ps->n = 0;
}

void lt_pairs_fini(struct lt_pairs *ps)
{
	free(ps->v);
	*ps = (struct lt_pairs){0};
}

static int by_number(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	size_t nx = strlen(x), ny = strlen(y);

	/* Same prefix, no leading zeros: the longer one is the larger number. */
	return nx != ny ? (nx < ny ? -1 : 1) : strcmp(x, y);
}

int lt_collect_children(const char *dir, const char *prefix, char ***names, struct lt_err *err)
{
	size_t n = 0, cap = 0, plen = strlen(prefix);
	DIR *d = opendir(dir);
	struct dirent *e;

	*names = NULL;
	if (!d)
		return lt_fail(err, errno == ENOENT || errno == ENOTDIR ? LT_EAGAIN : LT_EIO,
			LT_CLS_RETRY, "collect.children", "%s: %s", dir, strerror(errno));
	while ((e = readdir(d))) {
		if (strncmp(e->d_name, prefix, plen) != 0 ||
			!isdigit((unsigned char)e->d_name[plen]))
			continue;
		if (n == cap) {
			cap = cap ? 2 * cap : 16;
			*names = lt_realloc(*names, cap * sizeof(**names));
		}
		(*names)[n++] = lt_strdup(e->d_name);
	}
	closedir(d);
	if (n)
		qsort(*names, n, sizeof(**names), by_number);
	return (int)n;
}

void lt_collect_children_free(char **names, int n)
{
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
}
